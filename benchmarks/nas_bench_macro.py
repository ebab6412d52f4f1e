"""The networks of NAS-Bench-Macro (arXiv:2103.11922) in our blocks.

An architecture is eight digits, one a layer: 0 identity, 1 inverted residual (kernel 3, expansion 3), 2 (kernel 5, expansion
6). Layers are in stages of 2, 3, 3, each of which starts at stride 2; an identity there is a pointwise convolution.
"""

from search_spaces.genotype import Genotype
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
_STAGES = {64: slice(0, 2), 128: slice(2, 5), 256: slice(5, 8)}
_KNOBS = {"1": "kernel=3 expand=3 act=relu", "2": "kernel=5 expand=6 act=relu"}


def genotype_of(arch: str) -> Genotype:
    """The network of an architecture, for TASK."""
    lines = ["conv 32/1"]
    for width, layers in _STAGES.items():
        first, *later = arch[layers]
        lines.append(_line(width, 2, first) or f"conv {width}/2 kernel=1 act=none")
        lines += [line for code in later if (line := _line(width, 1, code))]
    return Genotype.parse("\n".join([*lines, "conv 1280/1 kernel=1", "head"]))


def _line(width: int, stride: int, code: str) -> str:
    return f"inverted_residual {width}/{stride} {_KNOBS[code]}" if code in _KNOBS else ""
