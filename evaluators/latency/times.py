"""Times that were measured of untrained networks, kept beside their device's profile: what was timed once is not timed again.

The same search asks the same only while the same network has the same time, which two measurements never give.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluators.latency.measure import Measurement
from evaluators.latency.profile import Profile, user_folder
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_Key = tuple[str, int]  # a genotype's text, its input included, and the number of classes


class Times:
    """A file of JSON lines, one a network, after a first line that says against which calibration they were timed.

    Times against another calibration are forgotten: their correction for other work had another zero.
    """

    def __init__(self, path: Path, calibrated: str) -> None:
        """Reads the file if there is one; raises InputError where it is damaged."""
        self._path, self._header = path, {"calibrated": calibrated}
        lines = _lines(path)
        self._known: dict[_Key, Measurement] | None = None
        if lines and lines[0] == self._header:
            try:
                self._known = {(line["genotype"], line["classes"]): Measurement(**line["time"]) for line in lines[1:]}
            except (KeyError, TypeError):
                raise _damaged(path) from None

    @classmethod
    def of(cls, profile: Profile, space: str) -> "Times":
        """Those of a profile's device for a space."""
        return cls(user_folder() / f"{profile.device.name}.{space}.times.jsonl", profile.calibration(space).created)

    def get(self, genotype: Genotype, task: Task) -> Measurement | None:
        """What a network took at its own input, the task's if it names none; None where that is not known."""
        return (self._known or {}).get(_key(genotype, task))

    def add(self, genotype: Genotype, task: Task, time: Measurement) -> None:
        """Keeps what a network took. Raises InputError when the file cannot be written."""
        key = text, classes = _key(genotype, task)
        line = {"genotype": text, "classes": classes, "time": asdict(time)}
        new = [self._header, line] if self._known is None else [line]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("w" if self._known is None else "a", encoding="utf-8") as file:
                file.write("".join(json.dumps(entry) + "\n" for entry in new))
        except OSError as error:
            raise InputError(f"cannot keep what was timed in {self._path}: {error.strerror or error}") from None
        self._known = {**(self._known or {}), key: time}


def _lines(path: Path) -> list[Any]:
    """The lines of the file, from which one that was cut off while it was written is taken away."""
    try:
        whole, end, cut = path.read_text(encoding="utf-8").rpartition("\n")
        if cut:
            path.write_text(whole + end, encoding="utf-8")
        return [json.loads(line) for line in whole.splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} cannot be read as times of networks; without it they are measured again: delete it")


def _key(genotype: Genotype, task: Task) -> _Key:
    return genotype.at(task.of(genotype).input).text, task.classes
