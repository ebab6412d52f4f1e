"""Cache of measured latencies of untrained networks, next to the device profile: each network is timed once.

This makes searches reproducible: two measurements of a network never agree exactly, and a search depends on them.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators.latency.device.profile import Profile
from evaluators.latency.device.space_key import space_key
from evaluators.latency.device.storage import add_line, user_folder, whole_lines
from evaluators.latency.timing.measure import Measurement
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.schema import Count, checked, strict
from search_spaces.space import SearchSpace
from search_spaces.task import Task

_Key = tuple[str, int]  # a genotype's text, its input included, and the number of classes


@strict
@dataclass(frozen=True)
class _Line:
    genotype: str
    classes: Count
    time: Measurement


class Times:
    """A JSON-lines file, one line per network, after a header that names the calibration they were timed against.

    Latencies for another calibration are dropped: their correction for load has another baseline.
    """

    def __init__(self, path: Path, calibrated: str) -> None:
        """Reads the file if it exists; raises InputError when it is damaged."""
        self._path, self._header = path, {"calibrated": calibrated}
        lines = _lines(path)
        known = lines[1:] if lines and lines[0] == self._header else []
        self._known = {(line.genotype, line.classes): line.time for line in (_line(path, entry) for entry in known)}

    @classmethod
    def of(cls, profile: Profile, space: SearchSpace) -> "Times":
        """The latencies of a profile's device for a space."""
        path = user_folder() / f"{profile.device.name}.{space_key(space)}.times.jsonl"
        return cls(path, profile.calibration(space).created)

    def get(self, genotype: Genotype, task: Task) -> Measurement | None:
        """The latency of a network at its own input, or the task's if it has none; None if not measured."""
        return self._known.get(_key(genotype, task))

    def add(self, genotype: Genotype, task: Task, time: Measurement) -> None:
        """Stores a network's latency. Raises InputError when the file cannot be written."""
        key = text, classes = _key(genotype, task)
        add_line(self._path, {"genotype": text, "classes": classes, "time": asdict(time)}, self._header)
        self._known[key] = time


def _lines(path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in whole_lines(path)]
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None


def _line(path: Path, entry: Any) -> _Line:
    try:
        return checked(_Line, entry, "damaged")
    except InputError:
        raise _damaged(path) from None


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged; delete it, and its networks are measured again")


def _key(genotype: Genotype, task: Task) -> _Key:
    return genotype.at(task.of(genotype).input).text, task.classes
