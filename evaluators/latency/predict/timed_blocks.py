"""Cache of predicted milliseconds per block and position: each block is predicted once, however many networks share it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.kernels.kernel import Layout, Size
from evaluators.latency.kernels.lowering import Lowered, Place, lowered_places
from evaluators.latency.predict.class_sums import Array, ClassSums
from evaluators.latency.predict.kernel_model import LEVELS, KernelModel, footprint_of, sizes_of
from evaluators.latency.runtime import Graph
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Input, Task

_FIRST_LAYOUT: Layout = "plain"  # layout of the image


class UncoveredError(InputError):
    """A network has an operation that no fit network has."""


class TimedBlock(NamedTuple):
    """A block's milliseconds by the kernel model at each footprint [LEVELS], the extrapolated part of these, and by class sums.

    Also its share of the network's footprint, and its output shape and layout.
    """

    by_kernel: Array
    extrapolated: Array
    sums: float
    footprint: float
    out_shape: tuple[int, ...]
    out_layout: Layout


_Key = tuple[BlockSpec, tuple[int, ...], Input, int, Layout]  # equal to a Place, but faster to construct


class TimedBlocks:
    """The blocks predicted so far; `kernels` is None if the kernel model has no share. `where` is for messages."""

    def __init__(self, sums: ClassSums, kernels: KernelModel | None, graph: Graph, where: str) -> None:
        self._sums, self._kernels, self._graph, self._where = sums, kernels, graph, where
        self._met: dict[_Key, TimedBlock] = {}

    def of(self, genotypes: Sequence[Genotype], task: Task) -> list[list[TimedBlock]]:
        """The blocks of each genotype, new ones predicted in one batch; raises UncoveredError for an unseen operation."""
        rows = [self._known(genotype, task) for genotype in genotypes]
        if new := [genotype for genotype, row in zip(genotypes, rows, strict=True) if row is None]:
            self._add(new, task)
            rows = [row or self._known(genotype, task) for genotype, row in zip(genotypes, rows, strict=True)]
        return [blocks for blocks in rows if blocks is not None]

    def _known(self, genotype: Genotype, task: Task) -> list[TimedBlock] | None:
        """The blocks of a genotype; None if one of them is not cached."""
        found: list[TimedBlock] = []
        image = task.of(genotype).input
        shape: tuple[int, ...] = image
        layout = _FIRST_LAYOUT
        for spec in genotype.blocks:
            block = self._met.get((spec, shape, image, task.classes, layout))
            if block is None:
                return None
            found.append(block)
            shape, layout = block.out_shape, block.out_layout
        return found

    def _add(self, genotypes: Iterable[Genotype], task: Task) -> None:
        """Predicts and caches new blocks."""
        places = (pair for genotype in genotypes for pair in lowered_places(genotype, task.of(genotype), self._graph))
        new: dict[Place, Lowered] = {place: lowered for place, lowered in places if place not in self._met}
        for place, lowered in new.items():
            self._check_covered(place.spec, set(lowered.totals))
        by_kernel, beyond = self._by_kernel([size for lowered in new.values() for size in sizes_of(lowered.kernels)])
        start = 0
        for place, lowered in new.items():
            part = slice(start, start + len(lowered.kernels))
            start = part.stop
            times, outside = by_kernel[:, part], beyond[part]
            totals = times.sum(1), times[:, outside].sum(1), self._sums.ms(lowered.totals)
            footprint = footprint_of(kernel.size for kernel in lowered.kernels)
            self._met[place] = TimedBlock(*totals, footprint, lowered.out_shape, lowered.out_layout)

    def _by_kernel(self, sizes: list[tuple[str, Size]]) -> tuple[Array, NDArray[np.bool_]]:
        """Milliseconds [LEVELS, n] by the kernel model, and which kernels are extrapolated; zeros without a model."""
        if self._kernels is None or not sizes:
            return np.zeros((LEVELS, len(sizes))), np.zeros(len(sizes), dtype=bool)
        return self._kernels.ms(sizes), self._kernels.beyond(sizes)

    def _check_covered(self, spec: BlockSpec, kinds: set[str]) -> None:
        known = set(self._sums.kinds)
        if self._kernels:
            known &= self._kernels.kinds
        if unseen := sorted(kinds - known):
            raise UncoveredError(
                f'block "{spec.line}" runs {", ".join(unseen)}, which no fit network of {self._where} has; '
                "measure a space that contains this block"
            )
