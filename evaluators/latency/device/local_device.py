"""Describes this machine as a device."""

from functools import cache

from evaluators.latency.device.profile import Device
from evaluators.latency.runtime import DEFAULT, load_runtime
from evaluators.latency.timing.bench import cpu_model

_cpu_model = cache(cpu_model)


def local_device(runtime: str = DEFAULT, threads: int = 1) -> Device:
    """This machine's CPU or GPU with an installed runtime; raises InputError when the runtime is not installed."""
    code = load_runtime(runtime)
    version = code.version()
    processor: str = getattr(code, "processor", _cpu_model)()
    return Device(processor, runtime, version, threads, code.DTYPE)
