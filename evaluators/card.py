"""The model card, model.json, that `nas train` and `nas export` write: describes the network and its files."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from search_spaces.errors import InputError
from search_spaces.resources import read_text
from search_spaces.schema import Count, Means, Stds, among_others, checked_json
from search_spaces.task import Input, Task, check_input

CARD = "model.json"


@among_others
@dataclass(frozen=True)
class Seen:
    """The preprocessing entry of a card."""

    input: Annotated[Input, AfterValidator(check_input)]
    fit: Fit
    interpolation: Interpolation
    mean: Means
    std: Stds
    grey_bits: Annotated[int, Field(ge=8, le=16)] = 16


@among_others
@dataclass(frozen=True)
class _Model:
    """A deployed file: name and shape of its input, [N, C, H, W], and of its output, [N, classes]; N may be "batch", any."""

    output: tuple[str, tuple[int | str, Count]]
    input: tuple[str, tuple[int | str, Count, Count, Count]] | None = None


@among_others
@dataclass(frozen=True)
class _Listing:
    """The deployed files next to the card, by name."""

    files: Annotated[dict[str, _Model], Field(min_length=1)]
    companions: list[str] = field(default_factory=list)


@among_others
@dataclass(frozen=True)
class Card(_Listing):
    """The part of model.json that is read; a network of unknown origin has no preprocessing."""

    preprocessing: Seen | None = None

    @property
    def classes(self) -> int:
        return next(iter(self.files.values())).output[1][1]


def files_entry(task: Task, files: Iterable[str]) -> dict[str, Any]:
    """The card's entry for files of one network in several formats: names and shapes of input and output."""
    return {file: file_entry(task, 1) for file in files}


def file_entry(task: Task, batch: int | str) -> dict[str, Any]:
    """The card's entry for a file that takes `batch` images, or "batch", any number."""
    return {"input": ["image", [batch, *task.input]], "output": ["logits", [batch, task.classes]]}


def listed(path: Path) -> set[str]:
    """The exported files that a card lists; none if it is not one of this project's cards. Raises OSError."""
    try:
        card = checked_json(_Listing, path.read_text(encoding="utf-8"), f"{path}") if path.is_file() else None
    except ValueError:
        return set()
    return {*card.files, *card.companions} if card and all(model.input for model in card.files.values()) else set()


def read_card(path: Path) -> tuple[int, Preprocessing]:
    """(number of classes, preprocessing) from a card; raises InputError when it is damaged or lacks them."""
    card = checked_json(Card, read_text(path, "card"), f"{path}: damaged")
    if (seen := card.preprocessing) is None:
        raise InputError(f'{path} has no "preprocessing" entry, so it is not known how to prepare images')
    return card.classes, Preprocessing.from_json(asdict(seen))
