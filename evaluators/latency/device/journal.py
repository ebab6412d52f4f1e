"""Journal: the networks timed so far in an interruptible measurement, one JSON line each."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evaluators.latency.device.choose_networks import Chosen
from evaluators.latency.device.storage import add_line, whole_lines
from evaluators.latency.kernels.kernel import Timed
from evaluators.latency.timing.measure import Sample
from search_spaces.schema import checked, strict


@strict
@dataclass(frozen=True)
class _Stored:
    """A line of a journal: a network's id and number of classes, and its measurements."""

    network: str
    visits: list[Sample]
    kernels: tuple[Timed, ...]


class Journal:
    """The samples so far, one JSON line per network; lines for other networks and damaged ones are ignored."""

    def __init__(self, path: Path, chosen: Sequence[Chosen]) -> None:
        self.path, self.chosen = path, chosen
        self._keys = [f"{c.genotype.id} {c.classes}" for c in chosen]
        stored = {line.network: line for line in filter(None, map(_stored_line, whole_lines(path)))}
        self.samples = {i: stored[key].visits for i, key in enumerate(self._keys) if key in stored}
        self.kernels = {i: stored[key].kernels for i, key in enumerate(self._keys) if key in stored}

    def missing(self) -> list[int]:
        """Indexes of the chosen networks that are still to be timed."""
        return [i for i in range(len(self.chosen)) if i not in self.samples]

    def add(self, index: int, visits: list[Sample]) -> None:
        self.samples[index] = visits
        add_line(self.path, asdict(_Stored(self._keys[index], visits, self.kernels[index])))


def _stored_line(line: bytes) -> _Stored | None:
    """A line of a journal; None for a damaged one, whose network is timed again."""
    try:
        return checked(_Stored, json.loads(line), "damaged")
    except (ValueError, RecursionError):
        return None
