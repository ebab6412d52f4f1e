"""ExecuTorch on the CPU with the XNNPACK delegate: batch 1, float32."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.timing.bench import example

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
DTYPE = "float32"
SUFFIX = ".pte"


def version() -> str:
    """The version of executorch; raises InputError when it is not installed."""
    return installed_version("executorch", "the runtime executorch_xnnpack", "executorch")


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the file that `load` reads; operators that XNNPACK lacks run on ExecuTorch's portable kernels."""
    version()
    from torch.export import export

    from evaluators.onnx import deployable, quiet
    from search_spaces.network import example_input

    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        exported = export(deployable(network), (example_input(task),))
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread.

    The number of threads applies to the whole process, including networks loaded earlier.
    """
    version()
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    image = torch.from_numpy(example(method.metadata.input_tensor_meta(0).sizes()))
    return lambda: method.execute([image])[0]
