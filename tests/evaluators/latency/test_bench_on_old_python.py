"""A bundle's bench.py runs on Python 3.8, which boards with older systems have: by its text, and on such a Python."""

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from evaluators.latency.timing.bench import FORMAT

SCRIPT = Path(str(files("evaluators.latency.timing") / "bench.py"))
LATER = {"removeprefix", "removesuffix", "is_relative_to", "hardlink_to", "bit_count", "pairwise", "batched"}
STAND_INS = {
    "onnxruntime.py": """
__version__ = "1.0"

class SessionOptions:
    def add_session_config_entry(self, key, value): pass

class InferenceSession:
    def __init__(self, path, options, providers):
        self._options = options
        graph = getattr(options, "optimized_model_filepath", None)
        if graph:
            open(graph, "wb").write(b"graph")

    def get_inputs(self):
        return [self]

    name, shape = "image", [1, 3, 8, 8]

    def run(self, names, values):
        return [sum(range(1000))]

    def end_profiling(self):
        import json
        path = self._options.profile_file_prefix + ".json"
        shapes = {"input_type_shape": [{"float": [1, 3]}], "output_type_shape": [{"float": [1, 3]}], "op_name": "Relu"}
        event = {"cat": "Node", "name": "relu_kernel_time", "args": shapes, "dur": 5}
        json.dump([event] * 39, open(path, "w"))
        return path
""",
    "numpy.py": """
float32 = float

class random:
    @staticmethod
    def default_rng(seed):
        return random

    @staticmethod
    def standard_normal(shape, kind):
        return shape
""",
}


def run_time_nodes() -> Iterator[ast.AST]:
    """What is carried out: neither annotations, which are not looked at, nor what is for type checkers."""

    class Rest(ast.NodeTransformer):
        def visit_arg(self, node: ast.arg) -> ast.arg:
            return ast.arg(node.arg, None)

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            node.returns = None
            return self.generic_visit(node)

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
            return node.value

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    yield from ast.walk(Rest().visit(ast.parse(SCRIPT.read_text(), feature_version=(3, 8))))


def test_its_text_asks_for_nothing_later() -> None:
    assert "from __future__ import annotations" in SCRIPT.read_text()
    for node in run_time_nodes():
        where = f"line {getattr(node, 'lineno', '?')}"
        assert not isinstance(getattr(node, "op", None), ast.BitOr), f"{where}: dictionaries are joined with | from 3.9 on"
        if isinstance(node, ast.Subscript):
            of = ast.unparse(node.value)
            assert of not in ("dict", "list", "tuple", "set", "type", "Callable", "Sequence"), f"{where}: {of}[...]"
        assert getattr(node, "attr", "") not in LATER, f"{where}: {ast.unparse(node)}"


def test_its_calls_are_known_to_a_checker() -> None:
    vermin = pytest.importorskip("vermin")
    config = vermin.Config()
    config.set_eval_annotations(False)
    assert vermin.detect(SCRIPT.read_text(), config)[1] <= (3, 8)


def python(version: str) -> str:
    """An interpreter of that version; skips where there is none that starts."""
    found = shutil.which(f"python{version}")
    if not found or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version} here")
    return found


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_it_times_a_bundle(version: str, tmp_path: Path) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    entries = [{"file": f"{i}.onnx", "sha256": empty} for i in range(3)]
    manifest = {
        "runtime": "onnxruntime_cpu",
        "dtype": "float32",
        "seconds": 0,
        "reference": entries[0],
        "networks": entries[1:],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(SCRIPT, tmp_path)
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
    for entry in entries:
        (tmp_path / entry["file"]).touch()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python(version), "bench.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["format"] == FORMAT and found["machine"]["python"].startswith(version)
    assert set(found["samples"]) == set(found["kernels"]) == {"1.onnx", "2.onnx"}
    assert found["kernels"]["1.onnx"]["times"] == [["relu", "Relu", [[1, 3]], [[1, 3]], 0.005]]
