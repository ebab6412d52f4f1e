"""What this machine's processor can do."""

from pathlib import Path


def blocks_of_16() -> bool:
    """ONNX Runtime blocks by 16 channels with AVX-512 only; the lowering is written for that."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512f" in cpuinfo.read_text()
