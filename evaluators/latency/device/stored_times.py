"""Times that were measured of untrained networks, kept beside their device's profile: what was timed once is not timed again.

The same search asks the same only while the same network has the same time, which two measurements never give.
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
    """A file of JSON lines, one a network, after a first line that says against which calibration they were timed.

    Times against another calibration are forgotten: their correction for other work had another zero.
    """

    def __init__(self, path: Path, calibrated: str) -> None:
        """Reads the file if there is one; raises InputError where it is damaged."""
        self._path, self._header = path, {"calibrated": calibrated}
        lines = _lines(path)
        known = lines[1:] if lines and lines[0] == self._header else []
        self._known = {(line.genotype, line.classes): line.time for line in (_line(path, entry) for entry in known)}

    @classmethod
    def of(cls, profile: Profile, space: SearchSpace) -> "Times":
        """Those of a profile's device for a space."""
        path = user_folder() / f"{profile.device.name}.{space_key(space)}.times.jsonl"
        return cls(path, profile.calibration(space).created)

    def get(self, genotype: Genotype, task: Task) -> Measurement | None:
        """What a network took at its own input, the task's if it names none; None where that is not known."""
        return self._known.get(_key(genotype, task))

    def add(self, genotype: Genotype, task: Task, time: Measurement) -> None:
        """Keeps what a network took. Raises InputError when the file cannot be written."""
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
    return InputError(f"{path} cannot be read as times of networks; without it they are measured again: delete it")


def _key(genotype: Genotype, task: Task) -> _Key:
    return genotype.at(task.of(genotype).input).text, task.classes
