"""Teacher: the network that finalists are distilled from."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from evaluators.card import CARD, read_card
from evaluators.weights import GENOTYPE, NORMALISATION, WEIGHTS, Moments, load_network
from search_spaces.anchor import anchor, anchor_names
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, PaddingRule, read_genotype
from search_spaces.resources import expanded
from search_spaces.task import Input, Task

TEACHER = "teacher"


@dataclass(frozen=True)
class Teacher:
    """`name` as given by the user; `weights` is None for an anchor, which is trained first.

    `moments` are the per-channel mean and standard deviation that its inputs are normalised with, if known.
    """

    name: str
    genotype: Genotype
    weights: Path | None
    moments: Moments | None = None

    def check(self, task: Task) -> None:
        """Raise InputError if its weights are for another number of classes."""
        try:
            load_network(self.genotype, task.of(self.genotype), self.weights)
        except InputError as error:
            raise InputError(f"{self.name} cannot be the teacher for {task.classes} classes: {error}") from None

    def place(self, folder: Path) -> None:
        """Write its files to a new folder; raises OSError."""
        folder.mkdir()
        (folder / GENOTYPE).write_text(self.genotype.text, encoding="utf-8")
        if self.weights:
            shutil.copyfile(self.weights, folder / WEIGHTS)
        if self.moments:
            (folder / NORMALISATION).write_text(json.dumps(self.moments), encoding="utf-8")


def find_teacher(
    what: str, overall_stride: int | None = None, input: Input | None = None, padding: PaddingRule = "symmetric"
) -> Teacher:
    """The trained network in a folder (of `nas train`, `nas export`, a run) or weights file, or else an anchor.

    An anchor is adapted to `overall_stride`, `input` and `padding`. Raises InputError if there is none.
    """
    path = expanded(what)
    places = [path] if path.is_file() else [path / WEIGHTS, path / "export" / WEIGHTS]
    for weights in places:
        if weights.is_file() and weights.with_name(GENOTYPE).is_file():
            return Teacher(what, read_genotype(weights.with_name(GENOTYPE)), weights, _moments(weights.parent))
    if what not in anchor_names() and (path.exists() or os.sep in what):
        raise InputError(
            f"{what} holds no trained network: expected {GENOTYPE} and {WEIGHTS}, as written by `nas train` and `nas export`"
        )
    known = anchor(what)
    genotype = known.genotype.at(input or known.task.input)
    genotype = genotype.at_stride(overall_stride) if overall_stride else genotype
    return Teacher(what, genotype if padding == "symmetric" else genotype.padded(padding), None)


def _moments(folder: Path) -> Moments | None:
    """Mean and standard deviation from model.json in a folder or its export/; None if there is none."""
    card = next((card for card in (folder / CARD, folder / "export" / CARD) if card.is_file()), None)
    if not card:
        return None
    _, seen = read_card(card)
    return seen.mean, seen.std
