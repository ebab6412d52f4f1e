"""The example for the library runs as it stands: a search on the embedded data, and what its network says of an image."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quickstart_finds_a_network_and_classifies_an_image(workshop, tmp_path):
    asked = ["--space", str(workshop / "small.yaml"), "--latency-budget", "50", "--trials", "1", "--run", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py"), *asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said[1] == "input 3x16x16" and "ms measured" in done.stdout
    assert re.fullmatch(r"the first test image is .+; the network says .+ \(\d+%\)", said[-1])
    assert (tmp_path / "run" / "export" / "model.onnx").is_file()
