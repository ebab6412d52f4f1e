"""Measuring in a fresh process: the figures come back, the profile's quiet moment is the yardstick, errors are said."""

import subprocess
import sys

import pytest

from evaluators.latency.device.measure_networks import Bench, measure_apart, measure_here
from evaluators.latency.runtime import load_runtime
from evaluators.latency.timing.measure import write_reference
from evaluators.onnx import export_onnx
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

TASK = Task((3, 16, 16), 2)
BENCH = Bench("onnxruntime_cpu")


@pytest.fixture
def file(tmp_path):
    export_onnx(build(Genotype.parse("conv 8/2\nhead\n"), TASK).eval(), TASK, tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_a_fresh_process_gives_the_figures(file):
    [found] = measure_apart([file], 0.1, BENCH)
    assert 0 < found.p50_ms <= found.p90_ms and found.n >= 12


def test_contention_is_judged_by_the_profiles_quiet_moment(file):
    [alone] = measure_here([file], 0.1, BENCH)
    [found] = measure_here([file], 0.1, Bench("onnxruntime_cpu", quiet_ms=1e-3))
    assert alone.contention < found.contention and found.robust_ms < alone.robust_ms


def test_what_goes_wrong_there_is_said_here(tmp_path):
    with pytest.raises(InputError, match=r"measuring in a fresh process failed: .*nothing"):
        measure_apart([tmp_path / "nothing.onnx"], 0.1, BENCH)


def test_the_fresh_process_times_without_torch(file, tmp_path):
    code = load_runtime(BENCH.runtime)
    write_reference(code, reference := tmp_path / "reference.onnx")
    program = f"""
import sys
from pathlib import Path
from evaluators.latency.device.measure_networks import Bench, measure_here
print(measure_here([Path({str(file)!r})], 0.1, Bench("onnxruntime_cpu"), reference=Path({str(reference)!r}))[0].p50_ms)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    figure, torch_too = done.stdout.split()
    assert float(figure) > 0 and torch_too == "False", done.stderr
