"""What this machine's processor can do."""

from pathlib import Path

from evaluators.latency.runtime import Graph


def fused_graph() -> Graph | None:
    """The lowering for ONNX Runtime's float32 graph here; None where it is not x86-64, for which the lowering is written."""
    cpuinfo = Path("/proc/cpuinfo")
    facts = cpuinfo.read_text() if cpuinfo.exists() else ""
    return None if " avx2" not in facts else "fused" if " avx512f" in facts else "fused8"
