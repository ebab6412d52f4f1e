"""Describes this machine as a device."""

from functools import cache

from evaluators.latency.device.profile import LOCAL, Device
from evaluators.latency.runtime import DEFAULT, at_precision, load_runtime
from evaluators.latency.timing.bench import cpu_model
from evaluators.precision import Precision

_cpu_model = cache(cpu_model)
LOCALS: dict[str, Precision] = {LOCAL: "float32", f"{LOCAL}-int8": "int8"}
"""Names for this machine with the default runtime, and their precisions."""


def local_device(runtime: str = DEFAULT, threads: int = 1) -> Device:
    """This machine's CPU or GPU with an installed runtime; raises InputError when the runtime is not installed."""
    code = load_runtime(runtime)
    version = code.version()
    processor: str = getattr(code, "processor", _cpu_model)()
    return Device(processor, runtime, version, threads, code.DTYPE)


def measure_command(device: str = LOCAL, space: str = "") -> str:
    """The command that measures this machine by one of its names, as code in a sentence."""
    precision = LOCALS.get(device, "float32")
    options = (f" --space {space}" if space else "") + (f" --precision {precision}" if precision != "float32" else "")
    return f"`nas device measure{options}`"


def local_named(name: str) -> Device:
    """This machine by one of its names, LOCALS."""
    return local_device(at_precision(DEFAULT, LOCALS[name]))
