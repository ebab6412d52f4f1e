"""Export quantised to int8, by one of the quantisers.

On processors without dot products of int8, weights have 7 bits for runtimes that add two products of 8 bits in 16 there, which
overflow: the guides of ONNX Runtime and NNCF advise it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from evaluators.onnx import export_onnx, quiet
from evaluators.processors import multiplies_int8
from evaluators.quantisers import DEFAULT, load_quantiser
from search_spaces.errors import InputError, shortened
from search_spaces.network import example_input
from search_spaces.task import Task


@dataclass(frozen=True, eq=False)
class Quantisation:
    """How networks are quantised: by which quantiser, and on which images [N, C, H, W], preprocessed as for the network."""

    images: Tensor
    quantiser: str = DEFAULT


def weight_bits(quantiser: str = DEFAULT) -> int:
    """Bits of quantised weights: 7 on processors without dot products of int8 where sums may overflow, else 8."""
    return 7 if load_quantiser(quantiser).OVERFLOWS and multiplies_int8() is False else 8


def export_at(network: nn.Module, task: Task, path: Path, quantisation: Quantisation | None) -> None:
    """Exports `network` in eval mode to a file quantised to int8, or to ONNX in float32 if `quantisation` is None.

    A quantised file is in the quantiser's format; its input and output are as in `export_onnx`, in float32, by the names of the
    quantiser's SIGNATURE. The same network and images give the same file. `network` is not modified. Raises InputError if there
    are no images, the quantiser is not installed, or does not support the network.
    """
    if quantisation is None:
        export_onnx(network, task, path)
        return
    if len(quantisation.images) == 0:
        raise InputError("int8 needs at least one training image to calibrate on")
    quantiser = load_quantiser(quantisation.quantiser)
    with quiet(), _refusals(quantiser.TITLE):
        quantiser.quantise(network, task, path, quantisation.images, weight_bits(quantisation.quantiser))


def export_int8(network: nn.Module, task: Task, path: Path, images: Tensor | None, quantiser: str) -> None:
    """Exports `network` in int8, as `export_at`; without images, ranges are from two random ones, enough for timing."""
    seen = example_input(task, batch=2) if images is None else images
    export_at(network, task, path, Quantisation(seen, quantiser))


@contextmanager
def _refusals(title: str) -> Iterator[None]:
    """Turns errors of a quantiser, which may raise anything, into InputError; a full disk stays what it is."""
    try:
        yield
    except (OSError, InputError):
        raise
    except Exception as error:  # noqa: BLE001
        reason = shortened(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise InputError(f"{title} cannot quantise this network ({reason}); use --precision float32") from None
