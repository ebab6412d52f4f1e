"""Measuring: what comes out is well-formed, and the correction removes a slow-down that the reference shows too."""

from pathlib import Path

import pytest

from evaluators.latency.measure import Sample, measure_file, quietest, summarise
from evaluators.latency.runtime import load_runtime, runtime_names
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


def test_runtimes_are_found_in_the_folder() -> None:
    assert "onnxruntime_cpu" in runtime_names()
    for name in runtime_names():
        assert load_runtime(name).version() and load_runtime(name).SUFFIX.startswith(".")
    with pytest.raises(InputError, match='did you mean "onnxruntime_cpu"'):
        load_runtime("onnxruntime_cpus")
