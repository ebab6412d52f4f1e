"""Description: candidates as rows of numbers, for a surrogate model: figures that cost nothing, make-up, branches, genes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.genotype import Blocks, BlockSpec, Genotype
from search_spaces.registry import Value

Row = NDArray[np.float64]


class GeneCoder:
    """A column from 0 to 1 for a gene whose values are in order, one for each value otherwise; silent genes are neutral."""

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
        """The row of a table of active genes; NaN when there are none, as for a network outside the space."""
        if not active:
            return np.full_like(self._neutral, math.nan)
        row = self._neutral.copy()
        for gene in active.items():
            column, number = self._places[gene]
            row[column] = number
        return row


class MakeUp:
    """What a network's blocks, those in branches too, are on average: the share of each kind, the mean of each knob that is
    a number, the share of each value of the others. It can be told of any network, within a space or not; columns are added
    as they are met.
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
    """How often a network has each branch, which is told by the blocks in it: nothing for blocks in a row.

    Of a cell whose nodes add up what comes in, branches are the paths through it; told by these, rather than edge by edge,
    cells that compute alike are near each other (White et al., arXiv:2007.04965).
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, ...], int] = {}

    def row(self, genotype: Genotype) -> Row:
        branches = (tuple(spec.line for spec in branch) for branch in _branches(genotype.blocks))
        found = [self._columns.setdefault(branch, len(self._columns)) for branch in branches]
        return np.bincount(found, minlength=len(self._columns)).astype(np.float64)


def _branches(blocks: Iterable[BlockSpec]) -> Iterator[Blocks]:
    """Every branch, of blocks in branches too."""
    for branch in (branch for spec in blocks for branch in spec.branches):
        yield branch
        yield from _branches(branch)


def stacked(rows: Sequence[Row]) -> Row:
    """Rows as a matrix; what was described before a column was met has 0 there."""
    matrix = np.zeros((len(rows), max(map(len, rows))))
    for place, row in zip(matrix, rows, strict=True):
        place[: len(row)] = row
    return matrix


def depth(blocks: Iterable[BlockSpec]) -> int:
    """Blocks on the longest way through blocks in a row."""
    return sum(max(map(depth, spec.branches), default=1) for spec in blocks)


def figures_row(macs: int, params: int, depth: int, predicted_ms: float, pixels: int) -> Row:
    """Logs of what is known before training; a latency that is not known counts as 1 ms."""
    sizes = (macs, params, depth, predicted_ms if math.isfinite(predicted_ms) else 1.0, pixels)
    return np.log(np.maximum(sizes, 1e-9))


@dataclass(frozen=True)
class Scaling:
    """Shifts and factors of a view's columns, by which the root mean square distance of two of the rows it is made of is 1."""

    shifts: Row
    factors: Row
    beyond: float  # factor of a column that those rows did not have

    @classmethod
    def of(cls, rows: Row, standardise: bool = False) -> "Scaling":
        """Of rows [n, columns], where those of NaN do not count; `standardise` gives columns that vary the same weight."""
        unknown = np.isnan(rows[:, 0])
        known = rows[~unknown] if unknown.any() else rows
        spreads = known.std(axis=0)
        weights = 1 / np.where(standardise & (spreads > 0), spreads, 1.0)
        usual = math.sqrt(2 * float(np.sum((weights * spreads) ** 2))) or 1.0
        return cls(known.mean(axis=0), weights / usual, 1 / usual)

    def __call__(self, rows: Row) -> Row:
        """Rows [m, columns], scaled; those they have not, at the end, are 0, and there may be more."""
        columns = max(rows.shape[1], len(self.shifts))
        shifts, factors = _widened(self.shifts, columns), _widened(self.factors, columns, self.beyond)
        scaled = _widened(rows, columns) - shifts
        scaled *= factors
        return scaled


def _widened(rows: Row, columns: int, value: float = 0.0) -> Row:
    """Rows, or one, with columns of `value` at the end to make up `columns`."""
    more = columns - rows.shape[-1]
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, more)], constant_values=value) if more else rows


def _in_order(values: Sequence[Value]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float)]
    return len(numbers) == len(values) and numbers == sorted(numbers)
