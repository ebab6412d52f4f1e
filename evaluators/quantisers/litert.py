"""LiteRT's quantiser; the only module that calls it.

Static quantisation of TFLite files: int8 weights with a scale per output channel, int8 activations, whose ranges are from the
smallest to the largest value on the images. XNNPACK, which runs them, sums products in 32 bits.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from evaluators.card import Signature
from evaluators.installed import installed_version

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

TITLE = "LiteRT Quantizer"
RUNTIME = "litert_int8"
SUFFIX, SIGNATURE = ".tflite", Signature("args_0", "output_0")
WHOLE, OVERFLOWS = False, False


def version() -> str:
    """The version of litert-quantizer; raises InputError when it, or LiteRT's converter, is not installed."""
    packages = ("litert-quantizer", "litert-torch", "ai-edge-litert")
    own, *_ = [installed_version(package, "int8 in LiteRT", "litert") for package in packages]
    return own


def quantise(network: "nn.Module", task: "Task", target: Path, images: "Tensor", bits: int) -> None:
    """Writes `target`, the network's quantised TFLite file; raises InputError when a package is not installed."""
    version()
    assert bits == 8, "LiteRT's weights have 8 bits"
    from evaluators.tflite import SIGNATURE_KEY, export_tflite, silent

    seen = [{SIGNATURE.input: image[None].contiguous().numpy()} for image in images.cpu()]
    with TemporaryDirectory(prefix="nas-int8-") as folder:
        plain = Path(folder, "plain.tflite")
        export_tflite(network, task, plain)
        with silent():
            content = _quantised(plain.read_bytes(), {SIGNATURE_KEY: seen})
    target.write_bytes(content)


def _quantised(plain: bytes, images: dict[str, list[dict[str, Any]]]) -> bytes:
    """The content of the quantised file; images are by signature of the file and by input."""
    from litert_quantizer.calibrator import Calibrator
    from litert_quantizer.qtyping import TFLOperationName
    from litert_quantizer.quantizer import AlgorithmName, Quantizer
    from litert_quantizer.recipe_manager import RecipeManager
    from litert_quantizer.utils.qsv_utils import min_max_update

    recipe = RecipeManager()
    recipe.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        recipe.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ranges = Calibrator(plain, num_threads=1, qsv_update_func=min_max_update)
    ranges.calibrate(images, recipe)
    found = Quantizer(plain, recipe.get_quantization_recipe()).quantize(
        ranges.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(found.quantized_model)
