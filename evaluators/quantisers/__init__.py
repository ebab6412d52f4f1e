"""Quantisers, one module each: make an int8 ONNX file of one in float32. Modules in this folder are discovered by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "onnxruntime"
_QUANTISERS = Modules("quantisers", __name__, "quantiser")


class Quantiser(Protocol):
    """A module in this folder. TITLE: its name in sentences. RUNTIME: the runtime that answers for its files in tests.

    WHOLE: whether it quantises the weights of every convolution and linear layer, which a size budget counts on.

    `quantise` reads the ONNX file `source`, whose shapes are inferred and batch norms folded, and writes `target`, with
    the same input and output in float32. Ranges are from `images` [N, C, H, W], one or more; weights have `bits` bits, 7 or 8.
    The same file and images give the same file. It may raise anything; InputError, which names a missing package, is shown as
    it is.
    """

    TITLE: str
    RUNTIME: str
    WHOLE: bool

    def quantise(self, source: Path, target: Path, images: "Tensor", bits: int) -> None: ...


def quantiser_names() -> list[str]:
    """Names of the quantisers, sorted."""
    return _QUANTISERS.names()


def load_quantiser(name: str) -> Quantiser:
    """The quantiser called `name`; raises InputError that suggests the closest name."""
    return cast(Quantiser, _QUANTISERS.load(name))
