"""The model card, model.json, that `nas train` and `nas export` write: describes the network and its files."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from search_spaces.errors import InputError, quoted
from search_spaces.resources import read_text
from search_spaces.schema import Means, Stds, among_others, checked_json
from search_spaces.task import Input, Task, check_input

CARD = "model.json"
_MOST = 10**9  # of a size


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


@dataclass(frozen=True)
class Signature:
    """Names of a deployed file's input and output, and the layout of the input; without N, the output is [classes]."""

    input: str = "image"
    output: str = "logits"
    layout: Literal["NCHW", "CHW"] = "NCHW"


def _sizes(shape: list[Any]) -> list[Any]:
    """Checks the sizes of a shape; N, which the even lengths begin with, may be a word."""
    for size in shape[len(shape) % 2 == 0 and isinstance(shape[0], str) :]:
        if not isinstance(size, int) or not 1 <= size <= _MOST:
            raise InputError(f"a size must be a whole number from 1 to {_MOST}, not {quoted(size)}")
    return shape


@among_others
@dataclass(frozen=True)
class _Model:
    """A deployed file: name and shape of its input, [N, C, H, W], and of its output, [N, classes]; N may be "batch", any.

    Files without N take and return one image's. `more` are files that belong to it, such as weights.
    """

    output: tuple[str, Annotated[list[Any], Field(min_length=1, max_length=2), AfterValidator(_sizes)]]
    input: tuple[str, Annotated[list[Any], Field(min_length=3, max_length=4), AfterValidator(_sizes)]] | None = None
    more: list[str] = field(default_factory=list)


@among_others
@dataclass(frozen=True)
class _Listing:
    """The deployed files next to the card, by name."""

    files: Annotated[dict[str, _Model], Field(min_length=1)]
    companions: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {*self.files, *(name for model in self.files.values() for name in model.more), *self.companions}


@among_others
@dataclass(frozen=True)
class Card(_Listing):
    """The part of model.json that is read; a network of unknown origin has no preprocessing."""

    preprocessing: Seen | None = None

    @property
    def classes(self) -> int:
        return next(iter(self.files.values())).output[1][-1]


def file_entry(task: Task, batch: int | str = 1, signature: Signature = Signature()) -> dict[str, Any]:
    """The card's entry for a file that takes `batch` images, or "batch", any number: names and shapes of input and output."""
    count = [batch] if signature.layout == "NCHW" else []
    return {
        "input": [signature.input, [*count, *task.input]],
        "layout": signature.layout,
        "output": [signature.output, [*count, task.classes]],
    }


def listed(path: Path) -> set[str]:
    """The exported files that a card lists; none if it is not one of this project's cards. Raises OSError."""
    try:
        card = checked_json(_Listing, path.read_text(encoding="utf-8"), f"{path}") if path.is_file() else None
    except ValueError:
        return set()
    return card.names if card and all(model.input for model in card.files.values()) else set()


def read_card(path: Path) -> tuple[int, Preprocessing]:
    """(number of classes, preprocessing) from a card; raises InputError when it is damaged or lacks them."""
    card = checked_json(Card, read_text(path, "card"), f"{path}: damaged")
    if (seen := card.preprocessing) is None:
        raise InputError(f'{path} has no "preprocessing" entry, so it is not known how to prepare images')
    return card.classes, Preprocessing.from_json(asdict(seen))
