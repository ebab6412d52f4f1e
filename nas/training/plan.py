"""Plan: what a training was asked for, with every default resolved, kept in its folder.

train.yaml            everything resolved: network, data and its fingerprint, recipe, seed, versions, machine
genotype.txt          the network
donor/                where there is one: the network that it inherits from
begin.safetensors     or the weights that it goes on from
teacher/              where there is one: its genotype, and its weights as given or as trained first
checkpoint-EPOCH/     the newest finished epoch, until the training is over
curve.json            loss, validation accuracy, seconds of each epoch
weights.safetensors   what was trained
result.json export/   the result, and the files to deploy
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from evaluators.training.recipe import Metric, Recipe
from nas.run.former import of_former_training
from search_spaces import resources
from search_spaces.errors import InputError, quoted
from search_spaces.schema import Means, Seed, Stds, checked, strict
from search_spaces.task import Task, parse_input

FORMAT = 6
PLAN, CURVE, RESULT = "train.yaml", "curve.json", "result.json"
BEGIN = "begin.safetensors"


def _an_input(input: list[int]) -> list[int]:
    return list(parse_input("x".join(map(str, input))))


@strict
@dataclass(frozen=True)
class Plan:
    """What was asked for, with every default resolved.

    `input` is (channels, height, width); `fit`, `interpolation`, `depth`, `mean` and `std` say how images are brought to it.
    `begins` says in words what the weights are at first, `distill` is the teacher's name, `fingerprint` that of the data set.
    """

    network: str
    data: str
    classes: Annotated[list[str], Field(min_length=1)]
    input: Annotated[list[int], AfterValidator(_an_input)]
    fit: Fit
    interpolation: Interpolation
    mean: Means
    std: Stds
    seed: Seed
    recipe: Recipe
    metric: Metric
    begins: str
    distill: str | None
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    fingerprint: dict[str, int | str] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        channels, height, width = self.input
        return Task((channels, height, width), len(self.classes))

    @property
    def preprocessing(self) -> Preprocessing:
        mean, std = tuple(self.mean), tuple(self.std)
        return Preprocessing(self.task.input, self.fit, self.interpolation, mean, std, depth=self.depth)


@strict
@dataclass(frozen=True)
class PlanFile:
    """train.yaml as it is read and written."""

    format: int
    machine: str
    versions: dict[str, str]
    plan: Plan


def is_training(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def open_plan(folder: Path) -> Plan:
    """The plan in a folder; raises InputError when it is damaged, or another version made it."""
    return read_plan(folder)[0]


def read_plan(folder: Path) -> tuple[Plan, dict[str, str]]:
    """The plan, and the versions that the training began with."""
    file = folder / PLAN
    data = of_former_training(resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file)), FORMAT)
    if data.get("format") != FORMAT:
        raise InputError(f"{file}: format {quoted(data.get('format'))}, but this version reads format {FORMAT}")
    found = checked(PlanFile, data, f"{file}: damaged")
    return found.plan, found.versions


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The epochs that were trained in a folder; none of a teacher that came trained, or where there is none."""
    return json.loads((folder / CURVE).read_text()) if (folder / CURVE).is_file() else []
