"""The executor on its own: what a source hears, what it may raise, and that Ray listens on the loopback only."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
import numpy as np
import psutil
from evaluators.data import Dataset, Split
from evaluators.training.recipe import load_recipe
from nas.executors.ray_tune import RayTuneExecutor
from nas.jobs import Job, Setting
from search_spaces.errors import InputError
from search_spaces.task import Task

rng = np.random.default_rng(0)
split = Split(rng.integers(0, 255, (64, 3, 8, 8)).astype(np.uint8), rng.integers(0, 2, 64))
dataset = Dataset("made", 8, ("a", "b"), split, split, split, "made for a test")
setting = Setting(Task((3, 8, 8), 2), dataset, load_recipe("standard"), 1)


class Source:
    def __init__(self, jobs):
        self.jobs, self.heard = jobs, []

    def next(self):
        return self.jobs.pop(0) if self.jobs else None

    def progress(self, job, progress):
        self.heard.append((job.id, progress.epoch))
        if job.label == "raise":
            raise InputError("the disk is full")
        return job.label == "stop" and progress.epoch == 2

    def done(self, job):
        self.heard.append((job.id, "done"))

    def failed(self, job, reason):
        self.heard.append((job.id, reason))


def job(name, label="", genotype="conv 8/1\\nhead\\n"):
    return Job(name, label, genotype, 3, 0)


executor = RayTuneExecutor(setting, 1)
broken = job("broken", genotype="eesp 8/1 reinforce=yes\\nnonsense\\n")
source = Source([job("whole"), job("stopped", "stop"), broken, job("after")])
executor.run(source)
assert source.heard[:4] == [("whole", 1), ("whole", 2), ("whole", 3), ("whole", "done")], source.heard
assert source.heard[4:7] == [("stopped", 1), ("stopped", 2), ("stopped", "done")], source.heard
broken = [what for name, what in source.heard if name == "broken"]
assert len(broken) == 1 and "nonsense" in broken[0], source.heard
assert source.heard[-1] == ("after", "done"), source.heard

family = {child.pid for child in psutil.Process().children(recursive=True)}
addresses = {c.laddr.ip for c in psutil.net_connections("inet") if c.pid in family and c.status == psutil.CONN_LISTEN}
assert addresses and addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses

try:
    executor.run(Source([job("full", "raise"), job("never")]))
except InputError as error:
    print("RAISED", error)
executor.close()
"""


def test_executor(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "RAISED the disk is full" in done.stdout, done.stdout + done.stderr[-3000:]
