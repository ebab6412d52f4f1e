"""Find the profile of the target device, and its latency predictor."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from evaluators.precision import Precision


def device_at(device: str, precision: "Precision | None") -> str:
    """The device of that name at a precision, if one is given; raises InputError if its profile is of another precision."""
    from evaluators.latency.device.local_device import LOCALS
    from evaluators.latency.device.profile import LOCAL
    from evaluators.latency.device.profile_files import load_profile

    if precision is None:
        return device
    if device == LOCAL:
        return next(name for name, own in LOCALS.items() if own == precision)
    found = LOCALS.get(device) or load_profile(device, anywhere=True).device.dtype
    if found != precision:
        raise InputError(f"device {device} is measured in {found}, not in {precision}; leave out one of the two")
    return device


def precision_of(profile: Path) -> "Precision":
    """The precision that a profile was measured in."""
    from evaluators.latency.device.profile_files import load_profile

    return load_profile(str(profile), anywhere=True).device.dtype


def is_elsewhere(device: str) -> bool:
    """Whether a device's profile is readable but not of this machine with its installed runtime."""
    from evaluators.latency.device.profile_files import load_profile

    try:
        load_profile(device, anywhere=True)
    except InputError:
        return False
    try:
        load_profile(device)
    except InputError:
        return True
    return False


def known_profile(device: str, space: SearchSpace, anywhere: bool = False) -> Path | None:
    """File of a device's profile; None if it is this machine's and does not cover the space yet.

    Raises InputError if there is no such device, its profile is damaged, or, unless `anywhere`, it is another machine's.
    """
    from evaluators.latency.device.local_device import LOCALS, local_named
    from evaluators.latency.device.profile_files import list_profiles, load_profile
    from evaluators.latency.device.space_key import space_key

    if device in LOCALS and local_named(device).name not in {found.name for found in list_profiles()}:
        return None
    profile = load_profile(device, anywhere=anywhere)
    if space_key(space) not in profile.spaces and profile.device in map(local_named, LOCALS):
        return None
    profile.calibration(space)
    return _profile_file(device)


def predictor_of(profile: Path | str, space: SearchSpace, confidence: float = 0.95, anywhere: bool = False) -> Any:
    """Latency predictor of a device profile for a space; `anywhere` allows other devices than this machine."""
    from evaluators.latency.device.profile_files import load_profile
    from evaluators.latency.predict.predictor import Predictor

    found = load_profile(str(profile), anywhere=anywhere)
    return Predictor(found, found.calibration(space), confidence)


def _profile_file(device: str) -> Path:
    from evaluators.latency.device.local_device import LOCALS, local_named
    from evaluators.latency.device.profile_files import list_profiles

    if device.endswith(".json"):
        return Path(device)
    name = local_named(device).name if device in LOCALS else device
    return next(found.path for found in list_profiles() if found.name == name)


def find_predictor(device: str, space: SearchSpace) -> Any:
    """Latency predictor of any device for a space; None if this machine was not measured for it."""
    profile = known_profile(device, space, anywhere=True)
    return predictor_of(profile, space, anywhere=True) if profile else None
