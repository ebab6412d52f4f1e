"""ONNX Runtime's quantiser; the only module that calls it.

Static quantisation with QuantizeLinear/DequantizeLinear pairs, int8 weights with a scale per output channel, uint8 activations,
whose ranges are from the smallest to the largest value on the images.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.card import Signature

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

TITLE = "ONNX Runtime"
RUNTIME = "onnxruntime_int8"
SUFFIX, SIGNATURE = ".onnx", Signature()
WHOLE = OVERFLOWS = True


def quantise(network: "nn.Module", task: "Task", target: Path, images: "Tensor", bits: int) -> None:
    """Writes `target`, the network's quantised ONNX file."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    from evaluators.onnx import folded_onnx

    with folded_onnx(network, task) as source:
        quantize_static(
            str(source),
            str(target),
            _reader(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            reduce_range=bits < 8,
        )


def _reader(images: "Tensor") -> Any:
    """Gives the quantiser the images [N, C, H, W] one by one."""
    from onnxruntime.quantization import CalibrationDataReader

    from evaluators.onnx import INPUT

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images.cpu())

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None].contiguous().numpy()}

    return Images()
