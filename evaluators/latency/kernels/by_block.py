"""Assigns the kernel times that a runtime reports to the blocks of the network."""

from collections import Counter
from collections.abc import Sequence

from evaluators.latency.kernels.lowering import lowered_blocks
from evaluators.latency.runtime import Graph
from search_spaces.genotype import Genotype
from search_spaces.task import Task


def by_block(times: Sequence[tuple[str, float]], genotype: Genotype, task: Task, kind: Graph = "fused") -> list[float]:
    """Milliseconds of each block, from the (class, milliseconds) of all kernels in order of execution.

    Empty if the classes are not those of the lowering for this `kind` of graph.
    """
    expected = [[kernel.kind for kernel in block.kernels] for block in lowered_blocks(genotype, task, kind)]
    if Counter(kind for kinds in expected for kind in kinds) != Counter(kind for kind, _ in times):
        return []
    left: dict[str, list[float]] = {}
    for name, ms in reversed(times):
        left.setdefault(name, []).append(ms)
    return [sum(left[name].pop() for name in kinds) for kinds in expected]
