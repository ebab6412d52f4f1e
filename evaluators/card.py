"""model.json in a folder of `nas train` or `nas export`: what it says of the network and of the files there."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
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
    """How images are brought to the network, as it is written."""

    input: Annotated[Input, AfterValidator(check_input)]
    fit: Fit
    interpolation: Interpolation
    mean: Means
    std: Stds
    grey_bits: Annotated[int, Field(ge=8, le=16)] = 16


@among_others
@dataclass(frozen=True)
class _Model:
    """The network in a format: names and shapes of its input, [1, C, H, W], and of its output, [1, classes]."""

    output: tuple[str, tuple[int, Count]]
    input: tuple[str, tuple[int, Count, Count, Count]] | None = None


@among_others
@dataclass(frozen=True)
class _Listing:
    """Files of other programs' formats beside the card, by name."""

    files: Annotated[dict[str, _Model], Field(min_length=1)]


@among_others
@dataclass(frozen=True)
class Card(_Listing):
    """The part of model.json that is read; a network of an unknown source has no preprocessing."""

    preprocessing: Seen | None = None

    @property
    def classes(self) -> int:
        return next(iter(self.files.values())).output[1][1]


def files_entry(task: Task, files: Iterable[str]) -> dict[str, Any]:
    """What a card says of files with one network in them, each in its format: names, where it has any, and shapes."""
    return {file: {"input": ["image", [1, *task.input]], "output": ["logits", [1, task.classes]]} for file in files}


def listed(path: Path) -> set[str]:
    """The files beside a card that it says an export wrote; none where it is no card of ours. Raises OSError."""
    try:
        files = checked_json(_Listing, path.read_text(encoding="utf-8"), f"{path}").files if path.is_file() else {}
    except ValueError:
        return set()
    return set(files) if all(model.input for model in files.values()) else set()


def read_card(path: Path) -> tuple[int, Preprocessing]:
    """(number of classes, preprocessing) as a card says; raises InputError when it is damaged or does not say them."""
    card = checked_json(Card, read_text(path, "card"), f"{path}: damaged")
    if (seen := card.preprocessing) is None:
        raise InputError(f"{path} does not say how images are brought to the network")
    return card.classes, Preprocessing.from_json(asdict(seen))
