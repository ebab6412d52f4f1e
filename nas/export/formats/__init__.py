"""Formats of export: what other programs read. One file each, `NAME.py`, which has what `Format` says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from evaluators.card import CARD
from evaluators.weights import GENOTYPE, WEIGHTS
from search_spaces.errors import InputError
from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.task import Task

_DEFAULT = ("onnx",)
OURS = (GENOTYPE, WEIGHTS, CARD)  # in every export, whatever its formats: of these the network is read again
FORMATS = Modules("formats", __name__, "export format")


class Format(Protocol):
    """A module of this folder. FILE: the name of the file, which no other format has."""

    FILE: str

    def write(self, network: "Network", task: "Task", path: Path) -> None:
        """Writes a network in eval mode with its weights as one file, for one image: [1, C, H, W] to logits [1, classes].

        `network` is left as it was. Raises InputError that names what is not installed, OSError.
        """


def summaries() -> dict[str, str]:
    """One line about each format, by name; imports none of them."""
    return FORMATS.summaries()


def load(names: Sequence[str]) -> dict[str, Format]:
    """The formats called `names`, or else the usual one, by their files.

    Raises InputError for an unknown one, with the near miss, and for two that write one file.
    """
    found: dict[str, Format] = {}
    for name in dict.fromkeys(names or _DEFAULT):
        chosen = cast(Format, FORMATS.load(name))
        if chosen.FILE in (*found, *OURS):
            raise InputError(f"the export format {name} writes {chosen.FILE}, which is there already; leave one of them out")
        found[chosen.FILE] = chosen
    return found
