"""Timing networks on this machine."""

import onnx
import pytest
from made_up_search import measurement
from processor import fused_graph

from evaluators.latency.device.measure_networks import Bench
from evaluators.latency.device.stored_times import Times
from evaluators.latency.runtime import load_runtime
from nas.budget.timing import LocalTimer
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

SMALL, OTHER = (Genotype.parse(f"conv {width}/2\ninverted_residual 16/2 expand=2\nhead") for width in (8, 16))
TASK = Task((3, 32, 32), 2)


def test_what_was_timed_untrained_is_not_timed_again(tmp_path):
    meter = LocalTimer(Bench("onnxruntime_cpu"), Times(tmp_path / "times.jsonl", "today"))
    found = meter.check(SMALL, TASK)
    assert found.robust_ms > 0 and found.n > 10
    later = LocalTimer(Bench("onnxruntime_cpu"), Times(tmp_path / "times.jsonl", "today"))
    later.times.add(OTHER, TASK, measurement(7.0))
    assert later.check(SMALL, TASK) == meter.check(SMALL, TASK) == found
    assert later.check(OTHER, TASK) == measurement(7.0)


def test_each_network_is_timed_at_its_own_input(tmp_path, monkeypatch):
    def shapes(paths, *more):
        inputs = [onnx.load(path).graph.input[0].type.tensor_type.shape.dim for path in paths]
        return [[d.dim_value for d in dims][1:] for dims in inputs]

    for function in ("measure_here", "measure_apart"):
        monkeypatch.setattr(f"nas.budget.timing.{function}", shapes)
    meter = LocalTimer(Bench("onnxruntime_cpu"), Times(tmp_path / "times.jsonl", "today"))
    inputs = [(3, 24, 16), (1, 32, 32), None]
    networks = {str(i): build(Genotype(SMALL.blocks, i), Task(i or TASK.input, 2)) for i in inputs}
    assert meter.session(networks, TASK, 0) == {"(3, 24, 16)": [3, 24, 16], "(1, 32, 32)": [1, 32, 32], "None": [3, 32, 32]}
    monkeypatch.setattr(Times, "add", lambda *_: None)
    assert [meter.check(Genotype(SMALL.blocks, i), TASK) for i in inputs] == [[3, 24, 16], [1, 32, 32], [3, 32, 32]]


AS_LOWERED = pytest.mark.skipif(fused_graph() is None, reason="needs an x86-64 processor with AVX2")


@pytest.mark.parametrize("runtime", [pytest.param("onnxruntime_cpu", marks=AS_LOWERED), "onnxruntime_int8", "torch_eager"])
def test_blocks_are_timed_by_the_profiler_of_the_runtime(tmp_path, monkeypatch, runtime):
    meter, told = LocalTimer(Bench(runtime), Times(tmp_path / "times.jsonl", "today")), []
    network = build(OTHER, TASK)
    code = load_runtime(runtime)
    kernel_times = code.kernel_times

    def listened(path, threads):
        told.extend(kernel_times(path, threads=threads))
        return told

    monkeypatch.setattr(code, "kernel_times", listened)
    found = meter.blocks_ms(network, TASK)
    assert len(found) == len(OTHER.blocks) and min(found) > 0
    assert sum(found) == pytest.approx(sum(kernel.ms for kernel in told))
    monkeypatch.setattr(code, "kernel_times", lambda path, threads: told[:-1])  # not the kernels that the lowering expects
    assert meter.blocks_ms(network, TASK) == ()
    monkeypatch.delattr(code, "kernel_times")
    assert meter.blocks_ms(network, TASK) == ()
