"""Versions of installed packages, or the message that names what is missing."""

from importlib import metadata

from search_spaces.errors import InputError


def installed_version(package: str, what: str, extra: str = "") -> str:
    """The version of a package that `what` needs; raises InputError naming what to install."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        also = f", or this project's extra: pip install 'compact-nas[{extra}]'" if extra else ""
        raise InputError(f"{what} needs the package {package}, which is not installed: pip install {package}{also}") from None
