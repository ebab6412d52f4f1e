"""Nothing is reported to anybody: the telemetry of ONNX Runtime, which keeps an identity at home, and of OpenVINO stays off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.imports import HOME
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


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A file that a package `openvino_telemetry` in `tmp_path` leaves when it is imported."""
    package, file = tmp_path / "openvino_telemetry", tmp_path / "imported"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(file)!r}, 'w').close()\nclass Telemetry: pass\n")
    (package / "backend.py").write_text("backend_ga4 = None\n")
    return file


def _run(code: str, folder: Path) -> None:
    path = os.pathsep.join([str(folder), HOME, os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True)


def test_the_telemetry_of_openvino_cannot_be_imported(told: Path, tmp_path: Path) -> None:
    _run("import openvino_telemetry", tmp_path)
    assert told.exists()
    told.unlink()
    _run("import evaluators, sys; assert sys.modules['openvino_telemetry'] is None", tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        _run("import evaluators, openvino_telemetry", tmp_path)
    assert not told.exists()


@pytest.mark.parametrize("package", ["openvino", "openvino.tools.ovc", "nncf", "nncf.onnx"])
def test_openvino_and_nncf_work_without_it(package: str, told: Path, tmp_path: Path) -> None:
    pytest.importorskip(package.partition(".")[0], reason=f"{package} is not installed")
    _run(f"import evaluators, {package}", tmp_path)
    assert not told.exists()
