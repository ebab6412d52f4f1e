"""Times of untrained networks, kept beside a device's profile."""

import json

import pytest
from made_up_search import measurement

from evaluators.latency.device.stored_times import Times
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.task import Task

SMALL, LARGE = (anchor(f"mobilenet_v3:{size}").genotype for size in ("small", "large"))
TASK = Task((3, 224, 224), 10)


def test_what_was_added_is_known_again_and_nothing_else_is(tmp_path):
    path, found = tmp_path / "made" / "d.times.jsonl", measurement(5.25, robust_ms=5.125)
    times = Times(path, "today")
    assert times.get(SMALL, TASK) is None and not path.exists()
    times.add(SMALL, TASK, found)
    for known in (times, Times(path, "today")):
        assert known.get(SMALL, TASK) == found
        assert known.get(LARGE, TASK) is known.get(SMALL, Task(TASK.input, 100)) is None
    Times(path, "today").add(LARGE, TASK, found)
    assert Times(path, "today").get(SMALL, TASK) == Times(path, "today").get(LARGE, TASK) == found


def test_each_input_of_a_network_has_its_own_time(tmp_path):
    path, at_96, at_224 = tmp_path / "d.times.jsonl", SMALL.at((3, 96, 96)), SMALL.at(TASK.input)
    times = Times(path, "today")
    times.add(at_96, TASK, measurement(1.5))
    assert times.get(at_224, TASK) is times.get(SMALL, TASK) is times.get(SMALL.at((3, 96, 160)), TASK) is None
    times.add(SMALL, TASK, measurement(5.0))
    for known in (times, Times(path, "today")):
        assert known.get(at_96, TASK) == known.get(SMALL, Task((3, 96, 96), 10)) == measurement(1.5)
        assert known.get(at_224, Task((3, 96, 96), 10)) == known.get(SMALL, TASK) == measurement(5.0)


def test_another_calibration_begins_anew(tmp_path):
    path = tmp_path / "d.times.jsonl"
    Times(path, "yesterday").add(SMALL, TASK, measurement(5.0))
    assert Times(path, "today").get(SMALL, TASK) is None
    Times(path, "today").add(LARGE, TASK, measurement(9.0))
    assert Times(path, "today").get(SMALL, TASK) is None and Times(path, "today").get(LARGE, TASK) == measurement(9.0)
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_does_not_count(tmp_path):
    path = tmp_path / "d.times.jsonl"
    times = Times(path, "today")
    times.add(SMALL, TASK, measurement(5.0))
    times.add(LARGE, TASK, measurement(9.0))
    path.write_bytes(path.read_bytes()[:-20])
    known = Times(path, "today")
    assert known.get(SMALL, TASK) == measurement(5.0) and known.get(LARGE, TASK) is None
    known.add(LARGE, TASK, measurement(8.0))
    assert Times(path, "today").get(LARGE, TASK) == measurement(8.0)


@pytest.mark.parametrize(
    "line", ["{", "\xff", json.dumps({"genotype": "conv"}), json.dumps([1]), "null", json.dumps({"time": {}})]
)
def test_a_damaged_file_is_named(tmp_path, line):
    path = tmp_path / "d.times.jsonl"
    Times(path, "today").add(SMALL, TASK, measurement(5.0))
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"d\.times\.jsonl.*delete it"):
        Times(path, "today")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    times = Times(tmp_path / "d.times.jsonl", "today")
    (tmp_path / "d.times.jsonl").mkdir()
    with pytest.raises(InputError, match=r"cannot write latencies to .*d\.times\.jsonl"):
        times.add(SMALL, TASK, measurement(5.0))
    with pytest.raises(InputError, match="delete it"):
        Times(tmp_path / "d.times.jsonl", "today")
