"""The meter of this machine."""

from made_up_search import measurement

from evaluators.latency.remeasure import Bench
from evaluators.latency.times import Times
from nas.meter import LocalMeter
from search_spaces.genotype import Genotype
from search_spaces.task import Task

SMALL, OTHER = (Genotype.parse(f"conv {width}/2\ninverted_residual 16/2 expand=2\nhead") for width in (8, 16))
TASK = Task((3, 32, 32), 2)


def test_what_was_timed_untrained_is_not_timed_again(tmp_path):
    meter = LocalMeter(Bench("onnxruntime_cpu"), Times(tmp_path / "times.jsonl", "today"))
    found = meter.check(SMALL, TASK)
    assert found.robust_ms > 0 and found.n > 10
    later = LocalMeter(Bench("onnxruntime_cpu"), Times(tmp_path / "times.jsonl", "today"))
    later.times.add(OTHER, TASK, measurement(7.0))
    assert later.check(SMALL, TASK) == meter.check(SMALL, TASK) == found
    assert later.check(OTHER, TASK) == measurement(7.0)
