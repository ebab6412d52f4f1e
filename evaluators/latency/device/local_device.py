"""This machine as a device that a profile is valid for."""

from functools import cache

from evaluators.latency.device.profile import Device
from evaluators.latency.runtime import DEFAULT, load_runtime
from evaluators.latency.timing.bench import cpu_model

_cpu_model = cache(cpu_model)


def local_device(runtime: str = DEFAULT, threads: int = 1) -> Device:
    """This machine's processor, or GPU, with a runtime as it is installed; raises InputError where it is not."""
    code = load_runtime(runtime)
    version = code.version()
    processor: str = getattr(code, "processor", _cpu_model)()
    return Device(processor, runtime, version, threads, code.DTYPE)
