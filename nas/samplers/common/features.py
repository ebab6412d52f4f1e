"""Features of candidates for a surrogate model: zero-cost figures, block composition, branches, genes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.genotype import Blocks, BlockSpec, Genotype
from search_spaces.registry import Value

Row = NDArray[np.float64]


class GeneCoder:
    """Encodes genes: ordinal ones as a column from 0 to 1, others one-hot; inactive genes get neutral values."""

    def __init__(self, genes: Mapping[str, tuple[Value, ...]]) -> None:
        neutral: list[float] = []
        self._places: dict[tuple[str, Value], tuple[int, float]] = {}
        for name, values in genes.items():
            ordered = len(values) == 2 or _in_order(values)
            for i, value in enumerate(values):
                column = len(neutral) + (0 if ordered else i)
                self._places[name, value] = (column, i / (len(values) - 1) if ordered else 1.0)
            neutral += [0.5] if ordered else [0.0] * len(values)
        self._neutral = np.array(neutral)

    def row(self, active: Mapping[str, Value]) -> Row:
        """Row for a table of active genes; NaN if there are none, as for a network outside the space."""
        if not active:
            return np.full_like(self._neutral, math.nan)
        row = self._neutral.copy()
        for gene in active.items():
            column, number = self._places[gene]
            row[column] = number
        return row


class MakeUp:
    """Composition averaged over a network's blocks, including those in branches.

    Share of each kind of block, mean of each numeric knob, share of each value of other knobs. Defined for any network, inside
    a space or not; columns are added as they occur.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, Value | None], int] = {}
        self._blocks: dict[BlockSpec, tuple[NDArray[np.int64], Row]] = {}

    def row(self, genotype: Genotype) -> Row:
        branches = list(_branches(genotype.blocks))
        blocks = [*genotype.blocks, *(spec for branch in branches for spec in branch)]
        columns, numbers = map(np.concatenate, zip(*map(self._entries, blocks), strict=True))
        return np.bincount(columns, numbers, len(self._columns)) / len(blocks)

    def _entries(self, spec: BlockSpec) -> tuple[NDArray[np.int64], Row]:
        if spec not in self._blocks:
            named: list[tuple[tuple[str, Value | None], float]] = [((spec.kind, None), 1.0)]
            for knob, value in spec.arguments().items():
                number = isinstance(value, int | float)
                named.append(((knob, None if number else value), float(value) if number else 1.0))
            columns = [self._columns.setdefault(key, len(self._columns)) for key, _ in named]
            self._blocks[spec] = np.array(columns), np.array([number for _, number in named])
        return self._blocks[spec]


class Branches:
    """Counts of each branch, identified by its blocks; empty for networks without branches.

    The branches of a cell whose nodes sum their inputs are the paths through it; with this path encoding, cells that compute
    similar functions are close, unlike with an edge encoding (White et al., arXiv:2007.04965).
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, ...], int] = {}

    def row(self, genotype: Genotype) -> Row:
        branches = (tuple(spec.line for spec in branch) for branch in _branches(genotype.blocks))
        found = [self._columns.setdefault(branch, len(self._columns)) for branch in branches]
        return np.bincount(found, minlength=len(self._columns)).astype(np.float64)


def _branches(blocks: Iterable[BlockSpec]) -> Iterator[Blocks]:
    """All branches, including nested ones."""
    for branch in (branch for spec in blocks for branch in spec.branches):
        yield branch
        yield from _branches(branch)


def stacked(rows: Sequence[Row]) -> Row:
    """Stack rows of different lengths into a matrix, padded with zeros."""
    matrix = np.zeros((len(rows), max(map(len, rows))))
    for place, row in zip(matrix, rows, strict=True):
        place[: len(row)] = row
    return matrix


def depth(blocks: Iterable[BlockSpec]) -> int:
    """Number of blocks on the longest path."""
    return sum(max(map(depth, spec.branches), default=1) for spec in blocks)


def figures_row(macs: int, params: int, depth: int, predicted_ms: float, pixels: int) -> Row:
    """Logarithms of zero-cost figures; unknown latency counts as 1 ms."""
    sizes = (macs, params, depth, predicted_ms if math.isfinite(predicted_ms) else 1.0, pixels)
    return np.log(np.maximum(sizes, 1e-9))


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of a view's columns, such that the RMS distance between two rows is 1."""

    shifts: Row
    factors: Row
    beyond: float  # factor of columns that those rows did not have

    @classmethod
    def of(cls, rows: Row, standardise: bool = False) -> "Scaling":
        """Fit to rows [n, columns], ignoring NaN rows; `standardise` gives all varying columns the same weight."""
        unknown = np.isnan(rows[:, 0])
        known = rows[~unknown] if unknown.any() else rows
        spreads = known.std(axis=0)
        weights = 1 / np.where(standardise & (spreads > 0), spreads, 1.0)
        usual = math.sqrt(2 * float(np.sum((weights * spreads) ** 2))) or 1.0
        return cls(known.mean(axis=0), weights / usual, 1 / usual)

    def __call__(self, rows: Row) -> Row:
        """Scale rows [m, columns]; missing columns at the end are 0, additional ones are allowed."""
        columns = max(rows.shape[1], len(self.shifts))
        shifts, factors = _widened(self.shifts, columns), _widened(self.factors, columns, self.beyond)
        scaled = _widened(rows, columns) - shifts
        scaled *= factors
        return scaled


def _widened(rows: Row, columns: int, value: float = 0.0) -> Row:
    """Pad one row or several to `columns` columns with `value`."""
    more = columns - rows.shape[-1]
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, more)], constant_values=value) if more else rows


def _in_order(values: Sequence[Value]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float)]
    return len(numbers) == len(values) and numbers == sorted(numbers)
