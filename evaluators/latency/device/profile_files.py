"""Device profile files, the user's and the bundled ones: finds, reads, checks and writes them."""

import json
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from evaluators.latency.device.local_device import LOCALS, local_device, local_named, measure_command
from evaluators.latency.device.locks import locked
from evaluators.latency.device.profile import LOCAL, Calibration, Device, Profile
from evaluators.latency.device.storage import known_folder, writable_folder
from search_spaces.durable import replace_file
from search_spaces.errors import InputError, near_miss, quoted
from search_spaces.genotype import Genotype
from search_spaces.schema import checked, strict
from search_spaces.task import input_text

SCHEMA = 3
_MEASURE = "`nas device measure`"
_AGAIN = f"delete it and run {_MEASURE} again"


@strict
@dataclass(frozen=True)
class _Content:
    """The content of a profile file; the file's stem is the profile's name."""

    schema: int
    device: Device
    created: str
    machine: dict[str, Any]
    spaces: dict[str, Calibration]


@dataclass(frozen=True)
class Listing:
    """A profile file: its profile, or the problem with it."""

    name: str
    path: Path
    profile: Profile | None
    problem: str


def list_profiles() -> list[Listing]:
    """Every profile by name; a user's profile overrides a bundled one of the same name."""
    return [listing(name, path) for name, path in sorted(_profile_files().items())]


def load_profile(name_or_path: str = LOCAL, *, anywhere: bool = False) -> Profile:
    """The profile called `name`, in a file PATH.json, or of this machine ("local"; "local-int8").

    Raises InputError when there is none, when the file is damaged or of another version, and, unless `anywhere`, when it
    belongs to another device than this machine with the installed runtime.
    """
    profile = read_profile(_find(name_or_path))
    if not anywhere:
        _check_here(profile)
    return profile


def save_profile(profile: Profile) -> Path:
    """Adds a profile's calibrations to the file of its name, atomically; returns the file.

    Calibrations for other spaces are kept, including those that other processes add meanwhile. A file of another device, or
    an unreadable one, is renamed to NAME.json.old. Raises InputError for invalid figures.
    """
    folder = writable_folder()
    path = folder / f"{profile.name}.json"
    try:
        _sound(_content(profile))
    except InputError as error:
        raise InputError(f"{path} was not written, as the profile is invalid: {error}") from None
    try:
        with locked(folder.with_suffix(".lock")):
            text = json.dumps(_content(_added_to(path, profile)), separators=(",", ":")) + "\n"
            replace_file(path, text.encode())
    except OSError as error:
        raise InputError(f"cannot write the device profile {path}: {error.strerror}") from None
    return path


def _content(profile: Profile) -> dict[str, Any]:
    return {"schema": SCHEMA} | {k: v for k, v in asdict(profile).items() if k != "name"}


def _added_to(path: Path, profile: Profile) -> Profile:
    """The file's calibrations plus the profile's; renames a file that is no longer usable."""
    if not path.exists():
        return profile
    known = listing(path.stem, path).profile
    if known is not None and known.device == profile.device:
        return replace(known, spaces={**known.spaces, **profile.spaces})
    path.replace(path.with_suffix(".json.old"))
    return profile


def _profile_files() -> dict[str, Path]:
    shipped = Path(str(files("evaluators") / "devices"))
    found = [path for folder in (shipped, known_folder()) if folder for path in folder.glob("*.json")]
    return {path.stem: path for path in found}


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith(".json"):
        if not Path(name_or_path).is_file():
            raise InputError(f"there is no device profile file {name_or_path}")
        return Path(name_or_path)
    known = _profile_files()
    name = local_named(name_or_path).name if name_or_path in LOCALS else name_or_path
    if name in known:
        return known[name]
    if name_or_path in LOCALS:
        raise InputError(
            f"this machine has not been measured yet ({local_named(name_or_path)}); run {measure_command(name_or_path)}"
        )
    raise InputError(f'there is no device "{name}"{near_miss(name, [*LOCALS, *known])}')


def listing(name: str, path: Path) -> Listing:
    """The profile in a file, or the problem with it."""
    try:
        return Listing(name, path, read_profile(path), "")
    except InputError as error:
        return Listing(name, path, None, str(error))


def read_profile(path: Path) -> Profile:
    """The profile in a file, of any device; raises InputError when it is damaged or of another version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the device profile {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged (not JSON); {_AGAIN}") from None
    version = data.get("schema") if isinstance(data, dict) else None
    if version != SCHEMA:
        found = "not a device profile" if version is None else f"version {quoted(version)}"
        raise InputError(f"{path}: {found}, but version {SCHEMA} is supported; {_AGAIN}")
    try:
        content = _sound(data)
    except InputError as error:
        raise InputError(f"{path}: {error}; {_AGAIN}") from None
    return Profile(path.stem, content.device, content.created, content.machine, content.spaces)


def _sound(data: Any) -> _Content:
    """A file's content; raises InputError unless every network parses and has an input of its calibration."""
    content = checked(_Content, data, "damaged")
    for calibration in content.spaces.values():
        for network in calibration.networks:
            if Genotype.parse(network.genotype).input not in calibration.inputs:
                inputs = ", ".join(map(input_text, calibration.inputs))
                raise InputError(f"damaged: a network has none of the inputs {inputs}")
    return content


def _check_here(profile: Profile) -> None:
    here = local_device(profile.device.runtime, profile.device.threads)
    for field, word in (
        ("cpu", "processor"),
        ("runtime_version", "runtime version"),
        ("threads", "threads"),
        ("dtype", "dtype"),
    ):
        theirs, ours = getattr(profile.device, field), getattr(here, field)
        if theirs != ours:
            raise InputError(
                f"device profile {profile.name} is for another device: its {word} is {theirs}, here it is {ours}; "
                f"run {_MEASURE} on this machine"
            )
