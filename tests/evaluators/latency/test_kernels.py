"""The lowering runs as many convolutions, data movements and layout changes as ONNX Runtime's own optimised graph."""

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest
from processor import fused_graph

from evaluators.latency.kernels.lowering import graph_run, lowered_blocks, total_kernels
from evaluators.latency.runtime import Graph
from evaluators.onnx import export_onnx
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
CLASSES = {
    "convolution": {"Conv", "FusedConv"},
    "reorder": {"ReorderInput", "ReorderOutput"},
    "silu": {"QuickGelu"},
    "prelu": {"PRelu"},
    "cat": {"Concat"},
    "split": {"Split", "Slice"},
    "transpose": {"Transpose"},
    "linear": {"Gemm", "MatMul"},
    "pad": {"Pad"},
}
LINES = [
    "inverted_residual 32/1 act=hard_swish se=0.25",
    "inverted_residual 40/2 act=swish\ninverted_residual 40/1 act=swish",
    "inverted_residual 48/2 start=5\ninverted_residual 48/1 start=3 kernel=0 act=relu\ninverted_residual 48/1 kernel=0",
    "inverted_residual 40/2 start=3 kernel=0 act=hard_swish\ninverted_residual 40/2 kernel=0 act=swish se=0.25",
    "fused 48/2\nfused 48/1 kernel=5 act=hard_swish\nfused 40/1 expand=1",
    "shuffle 48/2\nshuffle 48/1",
    "eesp 48/2\neesp 48/1",
    "max_pool /2",
    "identity 32/1\nconv 32/1",
    "inverted_residual 32/2 kernel=5 padding=same\nfused 48/2 padding=same\nconv 20/2 padding=same",
    "inverted_residual 40/2 start=5 padding=same act=swish\nmax_pool /2 padding=same\nfe 64/2\nfe 64/1",
    "conv 96/2\nhead hidden=64 act=relu norm=yes",
]


def ours(genotype: Genotype) -> Counter[str]:
    found: Counter[str] = Counter()
    for kind, (count, *_) in total_kernels(genotype, TASK, fused_graph() or "fused").items():
        convolves = kind.startswith(("conv", "pointwise", "depthwise")) or kind == "batch_norm_blocked"
        found["convolution" if convolves else kind.split("_")[0]] += count
    return Counter({name: found[name] for name in CLASSES if found[name]})


def theirs(genotype: Genotype, folder: Path) -> Counter[str]:
    export_onnx(build(genotype, TASK), TASK, folder / "network.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(folder / "network.onnx"), options, providers=["CPUExecutionProvider"])
    types = Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)
    return Counter({name: n for name, ops in CLASSES.items() if (n := sum(types[op] for op in ops))})


@pytest.mark.skipif(fused_graph() is None, reason="needs an x86-64 processor with AVX2")
@pytest.mark.parametrize("lines", LINES)
def test_agrees_with_the_optimised_graph(lines: str, tmp_path: Path) -> None:
    genotype = Genotype.parse(f"conv 32/2 act=hard_swish\n{lines}" + ("" if "head" in lines else "\nhead"))
    mine, real = ours(genotype), theirs(genotype, tmp_path)
    # One reorder of a 1x1 map before the classifier may differ: it moves a few hundred numbers.
    assert abs(mine.pop("reorder", 0) - real.pop("reorder", 0)) <= 1
    assert mine == real


def test_layout_is_handed_from_block_to_block() -> None:
    genotype = Genotype.parse("conv 32/2\nshuffle 32/1\ninverted_residual 48/1\nhead")
    stem, shuffle, inverted, _ = lowered_blocks(genotype, TASK)
    assert (stem.out_layout, shuffle.out_layout, inverted.out_layout) == ("blocked", "plain", "blocked")
    assert "reorder_plain" in shuffle.totals and "reorder_blocked" in inverted.totals


@pytest.mark.parametrize("graph", ["fused", "fused8"])
def test_the_kernels_that_were_timed_tell_the_width_of_blocks(graph: Graph) -> None:
    genotype = Genotype.parse("conv 32/2\ninverted_residual 24/1\nmax_pool /2\nhead")
    timed = [(k.kind, k.size, 1.0) for block in lowered_blocks(genotype, TASK, graph) for k in block.kernels]
    assert graph_run("fused", timed) == graph and graph_run("eager", timed) == "eager"
    assert ("max_pool_blocked" in {kind for kind, *_ in timed}) == (graph == "fused8")
