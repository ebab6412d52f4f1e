"""Quantisation to int8; the only module that calls ONNX Runtime's quantiser.

Static quantisation with QuantizeLinear/DequantizeLinear pairs, int8 weights with a scale per output channel, uint8 activations.
On processors without dot products of int8, weights have 7 bits, as ONNX Runtime's guide advises: it adds two products of 8 bits
in 16 there, which overflow.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from evaluators.onnx import INPUT, export_onnx, quiet
from evaluators.processors import multiplies_int8
from search_spaces.errors import InputError, shortened
from search_spaces.task import Task


def export_int8(network: nn.Module, task: Task, path: Path, images: Tensor) -> None:
    """Exports `network` in eval mode to a quantised ONNX file; input and output are as in `export_onnx`, in float32.

    The range of each activation is from its smallest to its largest value on `images` [N, C, H, W], preprocessed as for the
    network. The same network and images give the same file. `network` is not modified. Raises InputError if there are no
    images, or if the quantiser does not support the network.
    """
    if len(images) == 0:
        raise InputError("int8 needs at least one training image to calibrate on")
    with tempfile.TemporaryDirectory(prefix="nas-int8-") as folder:
        plain, ready = Path(folder, "plain.onnx"), Path(folder, "ready.onnx")
        export_onnx(network, task, plain)
        with quiet(), _refusals():
            _prepare(plain, ready)
            _quantise(ready, path, images)


def weight_bits() -> int:
    """Bits of quantised weights: 7 on processors without dot products of int8, else 8."""
    return 7 if multiplies_int8() is False else 8


def export_at(network: nn.Module, task: Task, path: Path, calibration: Tensor | None) -> None:
    """Exports `network` to ONNX: quantised on `calibration` images (`export_int8`), or in float32 if None."""
    if calibration is None:
        export_onnx(network, task, path)
    else:
        export_int8(network, task, path, calibration)


def _prepare(source: Path, target: Path) -> None:
    """The quantiser's own preparation: infers shapes, folds batch norm into convolutions."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)


def _quantise(source: Path, target: Path, images: Tensor) -> None:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images.cpu())

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None].contiguous().numpy()}

    quantize_static(
        str(source),
        str(target),
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        calibrate_method=CalibrationMethod.MinMax,
        reduce_range=weight_bits() < 8,
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns errors of the quantiser, which may raise anything, into InputError; a full disk stays what it is."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001
        reason = shortened(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise InputError(f"ONNX Runtime cannot quantise this network ({reason}); use --precision float32") from None
