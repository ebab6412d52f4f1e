"""Jobs on streamed images: workers come to the same as this process from memory, and a bad image ends the run by its name."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
from dataclasses import replace
from pathlib import Path
import numpy as np
from PIL import Image
from evaluators.data import load
from evaluators.training.recipe import load_recipe
from nas.executors.in_process import InProcessExecutor
from nas.executors.ray_tune import RayTuneExecutor
from nas.executors.job import Job, Setting
from search_spaces.errors import InputError


class Source:
    def __init__(self):
        recipe = replace(load_recipe("final", epochs=3), least_images=100, batch_size=16)
        self.jobs, self.heard = [Job("one", "", "input 3x16x16\\nconv 8/1\\nhead\\n", recipe, 0)], []

    def next(self):
        return self.jobs.pop(0) if self.jobs else None

    def progress(self, job, progress):
        self.heard.append((progress.epoch, progress.loss, progress.accuracy))
        return False

    def done(self, job):
        self.heard.append("done")

    def failed(self, job, reason):
        self.heard.append(reason)


def heard(executor):
    source = Source()
    executor.run(source)
    return source.heard


for label, name in enumerate(("dark", "grey", "bright")):
    folder = Path("images", name)
    folder.mkdir(parents=True)
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 100, (16, 16, 3)) + 70 * label
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")

def setting(stream):
    return Setting(load("imagefolder:images", inputs=[(3, 16, 16)], stream=stream), (0.5,) * 3, (0.25,) * 3, "top1", 1)


executor = RayTuneExecutor(setting(stream=True), 1)
heards = heard(InProcessExecutor(setting(stream=False))), heard(executor)
assert len(heards[0]) == 4 and heards[0] == heards[1], heards
for file in Path("images").glob("*/*.png"):
    file.write_bytes(file.read_bytes()[:200])
try:
    heard(executor)
except InputError as error:
    print("RAISED", error)
executor.close()
"""


def test_streamed_jobs(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    _, said = done.stdout.split("RAISED")
    assert "cannot read 16 images" in said and said.count(".png: ") == 16 and "continue with `nas resume`" in said
