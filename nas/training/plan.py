"""Plan: the resolved options of a training, and the layout of its folder.

train.yaml            resolved options: network, data set and its fingerprint, recipe, seed, versions, machine
genotype.txt          the network
before.txt            if the recipe has a surgery: the network that it is to change; genotype.txt is the result once trained
donor/                optional: the donor that it inherits from
begin.safetensors     optional: the weights that it continues from
teacher/              optional: the teacher's genotype, and its weights once trained
checkpoint-EPOCH/     the last finished epoch; removed when training is finished
curve.json            loss, validation accuracy, seconds, learning rate of each epoch
tensorboard/          optional: TensorBoard event files of the training and the teacher's
weights.safetensors   the trained weights
result.json export/   the result, and the files to deploy
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from evaluators.precision import Precision
from evaluators.training.recipe import Metric, Recipe
from nas.run.former import of_former_training
from search_spaces import resources
from search_spaces.errors import InputError, quoted
from search_spaces.schema import Means, Seed, Stds, checked, strict
from search_spaces.task import Task, parse_input

FORMAT = 6
PLAN, CURVE, RESULT = "train.yaml", "curve.json", "result.json"
BEGIN, BEFORE = "begin.safetensors", "before.txt"


def _check_input(input: list[int]) -> list[int]:
    return list(parse_input("x".join(map(str, input))))


@strict
@dataclass(frozen=True)
class Plan:
    """Resolved options.

    `input` is (channels, height, width); `fit`, `interpolation`, `depth`, `mean` and `std` define the preprocessing.
    `begins` describes the initial weights, `distill` names the teacher, `fingerprint` is the data set's. `tensorboard`: whether
    event files are written.
    """

    network: str
    data: str
    classes: Annotated[list[str], Field(min_length=1)]
    input: Annotated[list[int], AfterValidator(_check_input)]
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
    precision: Precision = "float32"
    tensorboard: bool = False

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
    """Contents of train.yaml."""

    format: int
    machine: str
    versions: dict[str, str]
    plan: Plan


def is_training(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def open_plan(folder: Path) -> Plan:
    """Read the plan in a folder; raises InputError if it is damaged or of another format version."""
    return read_plan(folder)[0]


def read_plan(folder: Path) -> tuple[Plan, dict[str, str]]:
    """Read the plan, and the package versions at the start of the training."""
    file = folder / PLAN
    data = of_former_training(resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file)), FORMAT)
    if data.get("format") != FORMAT:
        raise InputError(f"{file}: format {quoted(data.get('format'))}, but this version reads format {FORMAT}")
    found = checked(PlanFile, data, f"{file}: damaged")
    return found.plan, found.versions


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Epochs trained in a folder; empty if nothing was trained there (no teacher, or a trained one)."""
    return json.loads((folder / CURVE).read_text()) if (folder / CURVE).is_file() else []
