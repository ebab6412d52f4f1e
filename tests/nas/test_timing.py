"""Timing networks on this machine."""

import onnx
from made_up_search import measurement

from evaluators.latency.device.measure_networks import Bench
from evaluators.latency.device.stored_times import Times
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
