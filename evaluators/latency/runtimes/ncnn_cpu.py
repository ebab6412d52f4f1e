"""ncnn on the CPU: batch 1, float32 throughout (no fp16, no bf16), converted by pnnx from a trace."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.timing.bench import example
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
DTYPE = "float32"
SUFFIX = ".param"
_SIZE = "# input "  # last line of the .param file, which ncnn ignores


def version() -> str:
    """The versions of ncnn and of pnnx, which fuses operators; raises InputError when one is not installed."""
    found = [installed_version(package, "the runtime ncnn_cpu", "ncnn") for package in ("ncnn", "pnnx")]
    return f"{found[0]} pnnx {found[1]}"


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the graph as NAME.param and the weights as NAME.bin; raises InputError when pnnx cannot convert an operator."""
    version()
    from pnnx import EXEC_PATH

    from evaluators.onnx import trace

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "network.pt"
        trace(network, task).save(str(source))
        shape = f"inputshape=[1,{','.join(map(str, task.input))}]f32"
        done = subprocess.run([EXEC_PATH, source.name, shape, "fp16=0"], cwd=folder, capture_output=True, text=True)
        graph, weights = source.with_name("network.ncnn.param"), source.with_name("network.ncnn.bin")
        if done.returncode or not graph.is_file():
            raise InputError(
                f"pnnx cannot convert the network: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )
        if lacking := _lacking(graph.read_text()):
            raise InputError(f"ncnn cannot run the network: pnnx found no layer of ncnn for {', '.join(lacking)}")
        path.write_text(f"{graph.read_text().rstrip()}\n{_SIZE}{' '.join(map(str, task.input))}\n")
        path.with_suffix(".bin").write_bytes(weights.read_bytes())


def _lacking(graph: str) -> list[str]:
    """The operators that pnnx left in a .param file under torch's names, such as F.pad, which have no layer in ncnn."""
    kinds = [line.split()[0] for line in graph.splitlines()[2:] if line.strip()]
    return sorted({kind for kind in kinds if not kind.isalnum()})


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    version()
    import ncnn
    import numpy as np

    *graph, size = path.read_text().splitlines()
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = False
    network.load_param_mem("\n".join(graph) + "\n")
    network.load_model(str(path.with_suffix(".bin")))
    image = example(tuple(map(int, size.removeprefix(_SIZE).split())))

    def run() -> object:
        with network.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image))
            _, logits = extractor.extract("out0")
            return np.asarray(logits).copy()  # the extractor owns the memory

    return run
