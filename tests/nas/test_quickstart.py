"""The example for the library runs as it stands: a search, and what its network says of an image."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quickstart_finds_a_network_and_classifies_an_image(workshop, tmp_path):
    images = workshop / "images"
    asked = ["--space", workshop / "small.yaml", "--latency-budget", "50", "--trials", "1", "--run", tmp_path / "run"]
    asked += ["--data", f"imagefolder:{images}", "--image", images / "left" / "0.png"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py"), *map(str, asked)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said[1] == "input 3x16x16" and "ms measured" in done.stdout
    assert re.fullmatch(r"0\.png: the network says (left|top|middle) \(\d+%\)", said[-1])
    assert (tmp_path / "run" / "export" / "model.onnx").is_file()


def test_its_own_image_is_named_after_its_class(tmp_path):
    example = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    file = example["first_test_image"](tmp_path)
    assert Image.open(file).size == (28, 28) and file.name == "Ankle boot.png"
