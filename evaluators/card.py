"""read_card: what model.json, in a folder of `nas train` or `nas export`, says of the network there."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from search_spaces.errors import InputError
from search_spaces.resources import read_text
from search_spaces.schema import Count, Means, Stds, among_others, checked_json
from search_spaces.task import Input, check_input

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
    """The output's name and shape, [1, classes]."""

    output: tuple[str, tuple[int, Count]]


@among_others
@dataclass(frozen=True)
class _Files:
    """What there is beside the card."""

    model: Annotated[_Model, Field(alias="model.onnx")]


@among_others
@dataclass(frozen=True)
class Card:
    """The part of model.json that is read; a network of an unknown source has no preprocessing."""

    files: _Files
    preprocessing: Seen | None = None

    @property
    def classes(self) -> int:
        return self.files.model.output[1][1]


def read_card(path: Path) -> tuple[int, Preprocessing]:
    """(number of classes, preprocessing) as a card says; raises InputError when it is damaged or does not say them."""
    card = checked_json(Card, read_text(path, "card"), f"{path}: damaged")
    if (seen := card.preprocessing) is None:
        raise InputError(f"{path} does not say how images are brought to the network")
    return card.classes, Preprocessing.from_json(asdict(seen))
