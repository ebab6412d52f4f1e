"""NNCF, OpenVINO's quantiser; the only module that calls it.

NNCF chooses for OpenVINO on CPUs what is quantised and how, leaves squeeze-and-excitation in float32, and corrects biases. Its
own setting for processors without int8 products gives weights of 7 bits, except those of depthwise convolutions, which do not
overflow; elsewhere those of the first convolution alone have 7.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.card import Signature
from evaluators.installed import installed_version

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

TITLE = "NNCF"
RUNTIME = "openvino_int8"
SUFFIX, SIGNATURE = ".onnx", Signature()
WHOLE, OVERFLOWS = False, True


def version() -> str:
    """The version of nncf; raises InputError when it is not installed."""
    return installed_version("nncf", "int8 in OpenVINO", "openvino")


def quantise(network: "nn.Module", task: "Task", target: Path, images: "Tensor", bits: int) -> None:
    """Writes `target`, the network's quantised ONNX file; raises InputError when nncf is not installed."""
    version()
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    from evaluators.onnx import INPUT, folded_onnx

    def fed(image: "Tensor") -> dict[str, Any]:
        return {INPUT: image[None].contiguous().numpy()}

    with folded_onnx(network, task) as source:
        plain = onnx.load(source)
    found = nncf.quantize(
        plain,
        nncf.Dataset(list(images.cpu()), fed),
        subset_size=len(images),
        target_device=nncf.TargetDevice.CPU,
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE if bits < 8 else None),
    )
    onnx.save(found, target)
