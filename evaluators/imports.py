"""Where the processes that this one starts import from: the same places, but never by accident from where a person works."""

import os
import sys
from pathlib import Path

HOME = os.fspath(Path(__file__).resolve().parents[1])  # the folder that these packages are in


def import_path() -> list[str]:
    """sys.path in absolute paths, without the current directory, where a folder may have the name of a package.

    It stays where these packages themselves are in it.
    """
    here = os.path.realpath(os.curdir)
    left_out = {here} - {HOME}
    return [path for path in map(os.path.abspath, sys.path) if os.path.realpath(path) not in left_out]
