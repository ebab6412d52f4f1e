"""Measuring: what comes out is well-formed, and the correction removes a slow-down that the reference shows too."""

import os
import random
from pathlib import Path

import pytest

from evaluators.latency.runtime import load_runtime, runtime_names
from evaluators.latency.timing.measure import Reference, Sample, gated, measure_file, quietest, sample_rounds, summarise
from evaluators.onnx import export_onnx
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

TASK = Task((3, 16, 16), 10)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    export_onnx(build(Genotype.parse("conv 16/2\nhead"), TASK), TASK, path)
    return path


def test_percentiles_are_ordered(network: Path) -> None:
    found = measure_file(network, seconds=0.2)
    assert 0 < found.p50_ms <= found.p90_ms
    assert found.n >= 12 and found.robust_ms > 0 and found.std_ms >= 0 and found.spread >= 0


def test_contention_that_the_reference_shows_is_removed() -> None:
    slow = 1.5
    visits = [Sample((0.01,) * 3, (0.01,) * 3, 0.001)] * 10
    visits += [Sample((0.01 * slow**0.8,) * 3, (0.01 * slow**0.8,) * 3, 0.001 * slow)] * 20
    found = summarise(visits, quietest(visits))
    assert found.robust_ms == pytest.approx(10) and found.p50_ms > 13
    assert found.contention == pytest.approx(slow - 1)


def walls(reference: float, wall: float) -> Sample:
    return Sample((wall,) * 3, (1e-6,) * 3, reference, "wall")


def test_wall_time_counts_only_while_the_reference_is_near_its_best() -> None:
    calm, busy = [walls(0.001, 0.010)] * 4 + [walls(0.00104, 0.0104)] * 2, [walls(0.0015, 0.030)] * 20
    found = summarise([*busy, *calm], 0.001)
    assert found.clock == "wall" and found.counted == 6 and found.robust_ms == pytest.approx(10)
    assert found.p50_ms == pytest.approx(30) and found.n == 78


def test_the_gate_opens_as_far_as_it_must() -> None:
    near, further, far = walls(0.00104, 1), walls(0.00109, 1), walls(0.002, 1)
    assert gated([near] * 4 + [further] * 9, 0.001) == [near] * 4
    assert gated([near] * 3 + [further] * 2 + [far] * 9, 0.001) == [near] * 3 + [further] * 2
    assert gated([far, walls(0.003, 1), near, far, far], 0.001) == [near, far, far, far]


def test_cpu_time_counts_every_visit() -> None:
    found = summarise([Sample((0.05,) * 3, (0.01,) * 3, 0.001)] * 5, 0.001)
    assert found.clock == "cpu" and found.counted == 5 and found.robust_ms == pytest.approx(10)


def test_a_gpu_s_own_seconds_are_taken() -> None:
    [visits] = sample_rounds([lambda: 0.25], Reference(lambda: 0.125, "event"), 0.0, random.Random(0))
    assert all(set(s.wall) == {0.25} and s.reference == 0.125 for s in visits)
    assert summarise(visits, 0.125).robust_ms == pytest.approx(250)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs an operating system that pins threads")
def test_one_thread_is_pinned_while_it_is_timed() -> None:
    allowed, seen = os.sched_getaffinity(0), set()

    def run() -> None:
        seen.add(frozenset(os.sched_getaffinity(0)))

    sample_rounds([run], Reference(run), 0.0, random.Random(0))
    assert seen == {frozenset([max(allowed)])} and os.sched_getaffinity(0) == allowed
    seen.clear()
    sample_rounds([run], Reference(run, "wall", 2), 0.0, random.Random(0))
    assert seen == {frozenset(allowed)}


def test_runtimes_are_found_in_the_folder() -> None:
    assert "onnxruntime_cpu" in runtime_names()
    for name in runtime_names():
        assert load_runtime(name).SUFFIX.startswith(".")
    with pytest.raises(InputError, match='did you mean "onnxruntime_cpu"'):
        load_runtime("onnxruntime_cpus")
