"""Versions of packages, and the machine, for reports."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    found = {"python": platform.python_version()}
    for package in (
        "compact-nas",
        "torch",
        "torchvision",
        "ray",
        "optuna",
        "onnx",
        "onnxruntime",
        "numpy",
        "scipy",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def machine() -> str:
    """The machine in one line: CPU, cores, operating system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
