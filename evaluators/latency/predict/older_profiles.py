"""Upgrades networks measured with an older lowering: their kernels' classes, sizes and sums."""

from collections import defaultdict
from dataclasses import replace

from evaluators.latency.device.profile import MeasuredNetwork
from evaluators.latency.kernels.kernel import Size, Timed
from evaluators.latency.kernels.lowering import lowered_blocks, total_kernels
from evaluators.latency.runtime import Graph
from search_spaces.genotype import Genotype

_BEFORE = {"depthwise_plain": "conv_plain"}  # new class: the class it was part of before


def relowered(network: MeasuredNetwork, kind: Graph) -> MeasuredNetwork:
    """The same network and times, its kernels described as evaluators.latency.kernels.lowering does now.

    Timed kernels are matched by size. Kernels that the lowering lacks, such as fusions across blocks, stay unchanged.
    """
    genotype = Genotype.parse(network.genotype)
    task = genotype.task(network.classes)
    left: dict[tuple[str, Size], list[tuple[str, Size]]] = defaultdict(list)
    for kernel in (kernel for block in lowered_blocks(genotype, task, kind) for kernel in block.kernels):
        left[_old(kernel.kind, kernel.size)].append((kernel.kind, kernel.size))
    for found in left.values():
        found.reverse()
    times: list[Timed] = []
    for name, size, ms in network.kernel_times:
        known = left[_old(name, size)]
        times.append((*(known.pop() if known else (name, size)), ms))
    return replace(network, kernels=total_kernels(genotype, task, kind), kernel_times=tuple(times))


def _old(kind: str, size: Size) -> tuple[str, Size]:
    return _BEFORE.get(kind, kind), size._replace(activation=0)
