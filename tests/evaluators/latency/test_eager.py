"""The eager lowering has one kernel for each operation that torch runs, and torch's own profile is told kernel by kernel."""

import math
import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from every_block import every_block
from torch.profiler import ProfilerActivity, profile

from evaluators.graph import network_graph
from evaluators.latency.kernels.eager import operations
from evaluators.latency.kernels.lowering import lowered_blocks, total_kernels
from evaluators.latency.kernels.torch_profile import located
from evaluators.latency.runtime import load_runtime
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.ops.shift import fold_permutations
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
BLOCKS = every_block()
COUNTED = [
    *("convolution", "native_batch_norm", "cat", "constant_pad_nd", "_prelu_kernel", "addmm", "avg_pool2d", "mean"),
    *("max_pool2d_with_indices", "hardswish", "hardsigmoid", "silu", "hardtanh", "mul", "relu", "leaky_relu"),
]
# What these blocks compute of their weights alone on every run: a few microseconds that the graph leaves out.
CONSTANT = {"active_shift": {"cat", "mul"}, "eesp": {"cat"}, "lgc": {"cat"}}


def network_of(block: str) -> Genotype:
    return Genotype.parse(f"conv 24/1\n{block}\nhead")


def run_by_torch(genotype: Genotype) -> Counter[str]:
    """How often torch ran each operation, by its own profiler."""
    torch.manual_seed(0)
    network = build(genotype, TASK).eval()
    fold_permutations(network)
    image = torch.randn(1, *TASK.input)
    with torch.no_grad():
        network(image)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            network(image)
    outermost = (event for event in seen.events() if not event.cpu_parent or word(event.cpu_parent.name) != word(event.name))
    return Counter(name for name in (word(event.name) for event in outermost) if name in COUNTED)


def word(name: str) -> str:
    return name.removeprefix("aten::").removesuffix("_")


@pytest.mark.parametrize("name", [name for name in BLOCKS if not name.startswith("gated")])  # gates skip by what they see
def test_every_block_runs_what_torch_runs(name: str) -> None:
    genotype = network_of(BLOCKS[name])
    nodes = operations(network_graph(genotype, TASK))
    ours = Counter(str(node["op"]) for node in nodes if node["op"] in COUNTED)
    theirs = run_by_torch(genotype)
    assert not ours - theirs
    assert set(theirs - ours) <= CONSTANT.get(genotype.blocks[1].kind, set())
    kernels = [kernel for block in lowered_blocks(genotype, TASK, "eager") for kernel in block.kernels]
    assert [kernel.kind == "view" for kernel in kernels] == [node["view"] for node in nodes]


def test_sizes_are_those_of_the_operations() -> None:
    genotype = Genotype.parse("conv 24/2\ninverted_residual 32/2 expand=4 kernel=5\nhead")
    sizes = {k.kind: k.size for b in lowered_blocks(genotype, TASK, "eager")[1:2] for k in b.kernels}
    assert (sizes["depthwise"].macs, sizes["depthwise"].weights) == (96 * 25 * 64, 96 * 25)
    assert sizes["pointwise"][:7] == (96 * 32 * 64, 96 * 64, 32 * 64, 96 * 32, 96, 32, 64)  # the last of the two
    assert sizes["batch_norm"].read == sizes["batch_norm"].written == 32 * 64


def test_nothing_is_fused_or_laid_out_anew() -> None:
    genotype = Genotype.parse("conv 32/2 act=hard_swish\nshuffle 32/1\nhead")
    eager, fused = total_kernels(genotype, TASK, "eager"), total_kernels(genotype, TASK)
    assert {"batch_norm", "hardswish", "relu"} <= set(eager) and not {"hardswish", "relu"} & set(fused)
    assert any(kind.startswith("reorder") for kind in fused) and not any(kind.startswith("reorder") for kind in eager)
    assert sum(row[1] for row in eager.values()) == sum(row[1] for row in fused.values())  # MACs


def test_a_network_that_skips_operations_is_not_told(tmp_path: Path) -> None:
    code, path = load_runtime("torch_eager"), tmp_path / "network.safetensors"
    torch.manual_seed(0)
    code.prepare(build(network_of(BLOCKS["gated/1"]), TASK), TASK, path)
    assert code.kernel_times(path, runs=1) == []  # type: ignore[attr-defined]


def test_an_image_is_timed_kernel_by_kernel(tmp_path: Path) -> None:
    genotype = Genotype.parse("\n".join(["conv 24/2", BLOCKS["fe/1"], BLOCKS["eesp/2"], BLOCKS["shuffle/2"], "head"]))
    code, path = load_runtime("torch_eager"), tmp_path / "network.safetensors"
    code.prepare(build(genotype, TASK), TASK, path)
    told = code.kernel_times(path, runs=2)  # type: ignore[attr-defined]
    lowered = [(k.kind, k.size) for block in lowered_blocks(genotype, TASK, "eager") for k in block.kernels]
    assert [(k.kind, k.size) for k in told] == lowered
    assert all(math.isfinite(k.ms) and k.ms > 0 for k in told)


def test_operations_on_constants_are_passed_over() -> None:
    names = [("empty", (0,)), ("relu", (1, 2)), ("view", (2,)), ("relu", (1, 2)), ("cat", (1, 4))]
    assert located([("relu", (1, 2)), ("relu", (1, 2)), ("cat", (1, 4))], names) == [1, 3, 4]
    assert located([("cat", (1, 4)), ("relu", (1, 2))], names) == []


FAULTS = """
import resource, sys
from pathlib import Path
import torch
from evaluators.latency.runtimes import torch_eager
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

if sys.argv[2] == "given back":
    torch_eager.keep_heap = lambda: None
torch.set_num_threads(1)
task, path = Task((3, 224, 224), 10), Path(sys.argv[1])
torch_eager.prepare(build(Genotype.parse(sys.argv[3]), task), task, path)
run = torch_eager.load(path)
faults = []
for _ in range(41):  # the heap still grows in the first runs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults[10:])[15])
"""


@pytest.mark.skipif(not platform.libc_ver()[0].startswith("glibc"), reason="the heap of glibc")
def test_a_run_faults_no_pages_in(tmp_path: Path) -> None:
    genotype = (
        "conv 32/2\ninverted_residual 32/1 expand=6\ninverted_residual 64/2 expand=6\ninverted_residual 64/1 expand=6 x3\nhead"
    )
    faults = {
        heap: int(subprocess.run([*command(tmp_path / "n"), heap, genotype], check=True, capture_output=True, text=True).stdout)
        for heap in ("kept", "given back")
    }
    assert faults["kept"] < 20 < 200 < faults["given back"]


def command(path: Path) -> list[str]:
    return [sys.executable, "-c", FAULTS, str(path)]
