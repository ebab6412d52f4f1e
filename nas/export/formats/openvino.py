"""OpenVINO's IR, for Intel's processors: model.xml is the graph, model.bin the weights in float32."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evaluators.latency.runtimes import openvino_cpu

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.task import Task

FILE, MORE, RUNTIME = "model.xml", ("model.bin",), "openvino_cpu"
USE = """import openvino
model = openvino.Core().compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
logits = model({"image": image})["logits"]"""


def write(network: "Network", task: "Task", path: Path) -> None:
    import openvino

    with TemporaryDirectory() as folder:
        source = Path(folder, f"network{openvino_cpu.SUFFIX}")
        openvino_cpu.prepare(network, task, source)
        openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)
