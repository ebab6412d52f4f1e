"""examples/photos.md: its commands lead from a folder of photos to a prediction, on small photos and with a short search."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from killed import alone

from nas.api import open_run

ROOT = Path(__file__).parents[2]
NOT_RUN = ("python3 -m venv", "pip install")  # the gate's own environment has been made by these


def test_the_commands_lead_to_a_prediction(workshop, tmp_path):
    text = (ROOT / "examples" / "photos.md").read_text()
    commands = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    assert len(commands) < 10
    (tmp_path / "photos").symlink_to(workshop / "images")
    shutil.copy(workshop / "images" / "left" / "0.png", tmp_path / "new.jpg")
    quick = ("--from-scratch", "--no-measure", "--space", workshop / "small.yaml", "--trials", "1", "--epochs", "1")
    quick += (
        "--recipe",
        workshop / "quick.yaml",
        "--final-recipe",
        workshop / "quick.yaml",
        "--final-epochs",
        "1",
        "--finalists",
        "1",
        "--workers",
        "0",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(workshop / "data")}
    for command in commands:
        if command.startswith(NOT_RUN):
            continue
        words = shlex.split(command)
        words = [sys.executable, "-m", "nas", *words[1:]] if words[0] == "nas" else words
        words = [sys.executable, *words[1:]] if words[0] == "python" else words
        more = map(str, quick) if "search" in words else ()
        command_line = [*words, *more]
        done = subprocess.run(command_line, cwd=tmp_path, capture_output=True, text=True, env=environment, preexec_fn=alone)
        assert (done.returncode, done.stderr) == (0, ""), command
    path, *answers = done.stdout.rstrip("\n").split("\t")
    expected = open_run(tmp_path / "runs" / "photos").best.classify(tmp_path / "new.jpg")
    assert path == "new.jpg" and dict(zip(answers[::2], map(float, answers[1::2]), strict=True)) == pytest.approx(
        expected, abs=1e-3
    )
    assert (tmp_path / "runs" / "photos" / "report.html").is_file()
