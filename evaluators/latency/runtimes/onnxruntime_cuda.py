"""ONNX Runtime on a CUDA GPU: batch 1, float32, data kept on the GPU, timed by CUDA events; not yet tested on a GPU."""

from collections.abc import Callable
from pathlib import Path

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.onnxruntime_cpu import DTYPE, SUFFIX, prepare
from evaluators.latency.runtimes.torch_cuda import processor, require_cuda
from evaluators.latency.timing.bench import example
from search_spaces.errors import InputError

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "processor", "version"]

CLOCK: Clock = "event"
GRAPH: Graph = "fused"
_PROVIDER = "CUDAExecutionProvider"


def version() -> str:
    """The version of onnxruntime-gpu; raises InputError when it or a GPU is missing."""
    import onnxruntime

    found = installed_version("onnxruntime-gpu", "the runtime onnxruntime_cuda")
    require_cuda("onnxruntime_cuda")
    if _PROVIDER not in onnxruntime.get_available_providers():
        raise InputError("the installed onnxruntime was built without CUDA: pip uninstall onnxruntime, keep onnxruntime-gpu")
    return found


def load(path: Path, threads: int = 1) -> Callable[[], float]:
    """A function that runs the network once on a fixed image and returns the seconds between two CUDA events.

    `threads` are host threads, which only launch kernels. Raises InputError for a session that would fall back to the CPU.
    """
    import onnxruntime
    import torch

    version()
    stream = torch.cuda.Stream()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    provider = (_PROVIDER, {"user_compute_stream": str(stream.cuda_stream)})
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    if _PROVIDER not in session.get_providers():
        raise InputError("ONNX Runtime could not start its CUDA provider: the installed CUDA or cuDNN has another version")
    source, target = session.get_inputs()[0], session.get_outputs()[0]
    binding = session.io_binding()
    binding.bind_ortvalue_input(source.name, onnxruntime.OrtValue.ortvalue_from_numpy(example(source.shape), "cuda", 0))
    binding.bind_output(target.name, "cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run() -> float:
        start.record(stream)
        session.run_with_iobinding(binding)
        end.record(stream)
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    return run
