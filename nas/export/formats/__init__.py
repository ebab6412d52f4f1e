"""Export formats for other programs. One file each, `NAME.py`, a module with the attributes of `Format`."""

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

_DEFAULT = ("onnx", "torch_source")
OURS = (GENOTYPE, WEIGHTS, CARD)  # in every export; the network can be loaded from these
FORMATS = Modules("formats", __name__, "export format")


class Format(Protocol):
    """A module of this folder. FILE: the file name, unique to the format."""

    FILE: str

    def write(self, network: "Network", task: "Task", path: Path) -> None:
        """Write a network in eval mode with its weights to one file; input [1, C, H, W], output logits [1, classes].

        Must not change `network`. Raises InputError if a package is missing, and OSError.
        """


def summaries() -> dict[str, str]:
    """One-line description of each format, by name, without importing them."""
    return FORMATS.summaries()


def load(names: Sequence[str]) -> dict[str, Format]:
    """Load formats by name, by default ONNX and torch source; returned by file name.

    Raises InputError for an unknown name, with a suggestion, and if two formats write the same file.
    """
    found: dict[str, Format] = {}
    for name in dict.fromkeys(names or _DEFAULT):
        chosen = cast(Format, FORMATS.load(name))
        if chosen.FILE in (*found, *OURS):
            raise InputError(f"the export format {name} writes {chosen.FILE}, as another one does; leave one of them out")
        found[chosen.FILE] = chosen
    return found
