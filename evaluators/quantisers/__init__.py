"""Quantisers, one module each: make an int8 file of a network. Modules in this folder are discovered by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from evaluators.card import Signature
from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

DEFAULT = "onnxruntime"
_QUANTISERS = Modules("quantisers", __name__, "quantiser")


class Quantiser(Protocol):
    """A module in this folder. TITLE: its name in sentences. RUNTIME: the runtime that answers for its files in tests.

    SUFFIX and SIGNATURE: of its files. WHOLE: whether weights of all convolutions and linear layers are known to take a byte
    each, which a size budget counts on. OVERFLOWS: whether they need 7 bits on processors without int8 products.

    `quantise` writes `target`, the int8 form of a network in eval mode; its input and output are float32. Ranges are from
    `images` [N, C, H, W], one or more; weights have `bits` bits, 7 or 8. The same network and images give the same file. It
    may raise anything; InputError, which names a missing package, is shown as it is.
    """

    TITLE: str
    RUNTIME: str
    SUFFIX: str
    SIGNATURE: Signature
    WHOLE: bool
    OVERFLOWS: bool

    def quantise(self, network: "nn.Module", task: "Task", target: Path, images: "Tensor", bits: int) -> None: ...


def quantiser_names() -> list[str]:
    """Names of the quantisers, sorted."""
    return _QUANTISERS.names()


def load_quantiser(name: str) -> Quantiser:
    """The quantiser called `name`; raises InputError that suggests the closest name."""
    return cast(Quantiser, _QUANTISERS.load(name))
