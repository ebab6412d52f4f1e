"""Assigns the kernel times that a runtime reports to the blocks of the network."""

from collections import Counter
from collections.abc import Sequence

from evaluators.latency.kernels.lowering import graph_run, lowered_blocks
from evaluators.latency.kernels.onnxruntime_profile import KernelTime
from evaluators.latency.runtime import Graph
from search_spaces.genotype import Genotype
from search_spaces.task import Task


def by_block(times: Sequence[KernelTime], genotype: Genotype, task: Task, kind: Graph = "fused") -> list[float]:
    """Milliseconds of each block, from those of all kernels in order of execution, by a runtime of this `kind` of graph.

    Empty if the classes are not those of the lowering.
    """
    graph = graph_run(kind, ((kernel.kind, kernel.size, kernel.ms) for kernel in times))
    expected = [[kernel.kind for kernel in block.kernels] for block in lowered_blocks(genotype, task, graph)]
    if Counter(name for names in expected for name in names) != Counter(kernel.kind for kernel in times):
        return []
    left: dict[str, list[float]] = {}
    for kernel in reversed(times):
        left.setdefault(kernel.kind, []).append(kernel.ms)
    return [sum(left[name].pop() for name in names) for names in expected]
