"""Nothing is reported to anybody: ONNX Runtime's own telemetry, which keeps an identity in the home folder, stays off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.latency.timing import bench
from evaluators.onnx import export_onnx
from search_spaces.genotype import Genotype
from search_spaces.network import build

RUN = "import onnxruntime; onnxruntime.InferenceSession({model!r}, providers=['CPUExecutionProvider'])"
KEPT = ".cache/Microsoft"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    genotype, path = Genotype.parse("input 3x16x16\nconv 8/2\nhead"), tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(build(genotype, genotype.task(2)).eval(), genotype.task(2), path)
    return path


@pytest.mark.parametrize(
    "first", ["import evaluators", f"import sys; sys.path.insert(0, {str(Path(bench.__file__).parent)!r}); import bench"]
)
def test_no_identity_is_kept_for_telemetry(first: str, model: Path, tmp_path: Path) -> None:
    switches = ("ORT_DISABLE_TELEMETRY", "CI", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in switches}
    code = f"{first}; {RUN.format(model=str(model))}"
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not (tmp_path / KEPT).exists()
