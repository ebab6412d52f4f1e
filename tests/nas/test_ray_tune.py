"""The executor on its own: what a source hears and may raise, what is written, lost workers, and where Ray listens."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

COMMON = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
from dataclasses import replace
from pathlib import Path
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
dataset = Dataset("made", ((3, 8, 8),), ("a", "b"), split, split, split, "made for a test")
setting = Setting(Task((3, 8, 8), 2), dataset, 1)
recipe = replace(load_recipe("final", epochs=3), least_pictures=128)


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


def job(name, label="", genotype="conv 8/1\\nhead\\n", keep=None, teacher=None):
    return Job(name, label, genotype, recipe, 0, keep, teacher)


def run_to_error(executor, source):
    try:
        executor.run(source)
    except InputError as error:
        print("RAISED", error)
"""

HEARD = """
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

run_to_error(executor, Source([job("full", "raise"), job("never")]))
run_to_error(executor, Source([job("unwritten", keep=Path("nowhere", "unwritten.safetensors")), job("never")]))
run_to_error(executor, Source([job("untaught", teacher=Path("nobody")), job("never")]))
executor.close()


class OfNoUse(Dataset):
    def mean_std(self):
        raise ModuleNotFoundError("No module named 'torch'")


executor = RayTuneExecutor(replace(setting, dataset=OfNoUse(**vars(dataset))), 1)
run_to_error(executor, Source([job("never")]))
executor.close()
"""

# Paths are relative, and a worker is in a folder of its own: only the process of the search can write and read them.
LOST = """
import signal
import threading
import time
import torch
from evaluators.training.batches import Pictures
from evaluators.training.distill import load_teacher
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.weights import packed, save_weights
from search_spaces.genotype import Genotype

torch.set_num_threads(1)


def kill_worker():
    killed = 0
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith(("ray::Worker", "ray::ResourceTrainable")):  # Tune's name for it at work
                process.kill()
                killed += 1
        except (psutil.NoSuchProcess, IndexError):  # it ends just now
            continue
    return killed


def kill_each_new_worker(until):
    while not until():
        kill_worker()
        time.sleep(0.02)


class Killing(Source):
    def __init__(self, jobs):
        super().__init__(jobs)
        self.curve = []

    def next(self):
        job = super().next()
        if job and job.label == "always":
            self.killer = threading.Thread(target=kill_each_new_worker, args=(lambda: self.ended(job),))
            self.killer.start()
        return job

    def ended(self, job):
        return any(name == job.id and isinstance(what, str) for name, what in self.heard)

    def progress(self, job, progress):
        super().progress(job, progress)
        self.curve.append((progress.loss, progress.accuracy))
        if job.label == "once" and progress.epoch == 2:
            assert kill_worker() == 1
        return False

    def done(self, job):
        super().done(job)
        if job.label == "idle":
            assert kill_worker() == 1


teacher = Path("teacher")
teacher.mkdir()
wide = Genotype.parse("conv 16/1\\nhead\\n")
save_weights(seeded_network(wide, setting.task, 7, torch.device("cpu"))[0], teacher / "weights.safetensors")
(teacher / "genotype.txt").write_text(wide.text)

network, generator = seeded_network(Genotype.parse("conv 8/1\\nhead\\n"), setting.task, 0, torch.device("cpu"))
pictures = Pictures(split.images, split.labels, *dataset.mean_std(), torch.device("cpu"))
taught_by = load_teacher(teacher, setting.task, torch.device("cpu"))
expected = [(e.loss, e.accuracy) for e in epochs(network, pictures, pictures, recipe, generator, taught_by)]

executor = RayTuneExecutor(setting, 1)
once = job("once", "once", keep=Path("once.safetensors"), teacher=teacher)
source = Killing([once, job("idle", "idle"), job("next"), job("always", "always"), job("after")])
executor.run(source)
source.killer.join()
executor.close()
assert source.heard[:4] == [("once", 1), ("once", 2), ("once", 3), ("once", "done")], source.heard
assert source.curve[:3] == expected, (source.curve, expected)
assert Path("once.safetensors").read_bytes() == packed(network)
ends = [(name, what) for name, what in source.heard if isinstance(what, str)]
lost = ("always", "the worker was lost, 3 times")
assert ends == [("once", "done"), ("idle", "done"), ("next", "done"), lost, ("after", "done")], ends
"""


@pytest.fixture
def run_program(tmp_path):
    """Runs a program in a folder of its own, which must end well; returns what it printed."""

    def run(text):
        command = [sys.executable, "-c", COMMON + text]
        other = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}  # a cluster that nobody asked to join
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=other, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_what_a_source_hears_and_what_ends_a_session(run_program):
    raised = [line for line in run_program(HEARD).splitlines() if line.startswith("RAISED")]
    full, unwritten, untaught, unstarted = raised
    assert full == "RAISED the disk is full"
    assert unwritten.startswith("RAISED No such file or directory: nowhere/unwritten.part; what was learnt")
    assert untaught.startswith("RAISED No such file or directory: nobody/genotype.txt; what was learnt")
    assert "a worker cannot be started" in unstarted and "No module named 'torch'" in unstarted


def test_a_job_whose_worker_is_killed_runs_again_to_the_same_result_and_is_given_up_at_the_third_loss(run_program):
    run_program(LOST)
