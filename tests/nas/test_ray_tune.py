"""The executor on its own: what a source hears and may raise, what is written, lost workers, and where Ray listens."""

import os
import subprocess
import sys
from pathlib import Path

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
from nas.executors.ray_tune import RayTuneExecutor, Searcher, _SourceSearcher
from nas.executors.job import Job, Setting
from search_spaces.errors import InputError
from search_spaces.task import Task

rng = np.random.default_rng(0)
split = Split(rng.integers(0, 255, (64, 3, 8, 8)).astype(np.uint8), rng.integers(0, 2, 64))
dataset = Dataset("made", ((3, 8, 8),), ("a", "b"), split, split, split, "made for a test")
task = Task((3, 8, 8), 2)
setting = Setting(dataset, *dataset.mean_std(), "top1", 1)
recipe = replace(load_recipe("final", epochs=3), least_images=128)


class Source:
    def __init__(self, jobs):
        self.jobs, self.heard, self.rates = jobs, [], []

    def next(self):
        return self.jobs.pop(0) if self.jobs else None

    def progress(self, job, progress):
        self.heard.append((job.id, progress.epoch))
        self.rates.append(progress.learning_rate)
        if job.label == "raise":
            raise InputError("the disk is full")
        return job.label == "stop" and progress.epoch == 2

    def done(self, job):
        self.heard.append((job.id, "done"))

    def failed(self, job, reason):
        self.heard.append((job.id, reason))


def job(name, label="", genotype="input 3x8x8\\nconv 8/1\\nhead\\n", keep=None, teacher=None, probe_only=False):
    return Job(name, label, genotype, recipe, 0, keep, teacher, probe_only)


def run_to_error(executor, source):
    try:
        executor.run(source)
    except InputError as error:
        print("RAISED", error)
"""

HEARD = """
executor = RayTuneExecutor(setting, 1)
broken = job("broken", genotype="eesp 8/1 reinforce=yes\\nnonsense\\n")
hot = replace(job("hot"), recipe=replace(recipe, learning_rate=1e30))
source = Source([job("whole"), job("stopped", "stop"), broken, hot, job("after")])
executor.run(source)
assert source.heard[:4] == [("whole", 1), ("whole", 2), ("whole", 3), ("whole", "done")], source.heard
assert source.heard[4:7] == [("stopped", 1), ("stopped", 2), ("stopped", "done")], source.heard
broken = [what for name, what in source.heard if name == "broken"]
assert len(broken) == 1 and "nonsense" in broken[0], source.heard
[*_, of_hot] = [what for name, what in source.heard if name == "hot"]
assert "the loss was" in of_hot, source.heard
assert source.heard[-1] == ("after", "done"), source.heard
assert source.rates[0] > source.rates[1] > source.rates[2] > 0, source.rates

family = {child.pid for child in psutil.Process().children(recursive=True)}
addresses = {c.laddr.ip for c in psutil.net_connections("inet") if c.pid in family and c.status == psutil.CONN_LISTEN}
assert addresses and addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses

run_to_error(executor, Source([job("full", "raise"), job("never")]))
executor.close()

asker = _SourceSearcher(Source([job("unwritten", keep=Path("nowhere", "unwritten.safetensors")), job("never")]))
asker.suggest("1")
assert asker.result("1", {"number": 3, "loss": 0.1, "accuracy": 0.5, "seconds": 1.0}, b"weights") is True
print("RAISED", asker.error)
assert asker.suggest("2") == Searcher.FINISHED
asker = _SourceSearcher(Source([job("untaught", teacher=Path("nobody")), job("never")]))
assert asker.suggest("1") == Searcher.FINISHED == asker.suggest("2")
print("RAISED", asker.error)


class OfNoUse(Setting):
    def __getattribute__(self, name):
        if name == "threads":
            raise ModuleNotFoundError("No module named 'torch'")
        return super().__getattribute__(name)


executor = RayTuneExecutor(OfNoUse(**vars(setting)), 1)
run_to_error(executor, Source([job("never")]))
executor.close()


class Replacing(Source):
    def done(self, of):
        if of.id == "long":
            self.jobs.append(job("late"))


asker = _SourceSearcher(Replacing([job("long"), job("short")]))
assert [asker.suggest(trial)["job"].id for trial in "12"] == ["long", "short"]
asker.on_trial_complete("2")
assert asker.suggest("3") is None  # a job that runs may yet be replaced
asker.on_trial_complete("1")
assert asker.suggest("3")["job"].id == "late"
asker.on_trial_complete("3")
assert asker.suggest("4") == Searcher.FINISHED
"""

# Paths are relative, and a worker is in a folder of its own: only the process of the search can write and read them.
LOST = """
import signal
import threading
import time
import torch
from evaluators.training.batches import Batches
from evaluators.training.distill import load_teacher
from evaluators.training.loop import epochs, seeded_network
from evaluators.weights import packed, save_weights
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
wide = Genotype.parse("input 3x8x8\\nconv 16/1\\nhead\\n")
save_weights(seeded_network(wide, task, 7, torch.device("cpu"))[0], teacher / "weights.safetensors")
(teacher / "genotype.txt").write_text(wide.text)

network, generator = seeded_network(Genotype.parse("input 3x8x8\\nconv 8/1\\nhead\\n"), task, 0, torch.device("cpu"))
images = Batches(split.images, split.labels, *dataset.mean_std(), torch.device("cpu"))
taught_by = load_teacher(teacher, task, torch.device("cpu"), (setting.mean, setting.std))
expected = [(e.loss, e.accuracy) for e in epochs(network, images, images, recipe, generator, teacher=taught_by)]

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

# A donor in memory alone: what a worker has of it came through the object store, where it was put once.
DONATED = """
import torch
from made_up_donor import made_up_donor
from evaluators.inheritance.donor import Donor
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import epochs, seeded_network
from evaluators.weights import packed
from search_spaces.genotype import Genotype

torch.set_num_threads(1)
small = Genotype.parse("input 3x8x8\\nconv 8/1\\nhead\\n")
pickled = []


class Counted(Donor):
    def __reduce__(self):
        pickled.append(self)
        return Donor, tuple(vars(self).values())


class Progressing(Source):
    def progress(self, job, progress):
        self.heard.append((job.id, progress.epoch, progress.accuracy, progress.inherited))
        return job.label == "screened" and progress.epoch == 0


setting = replace(setting, donor=Counted(**vars(made_up_donor(Genotype.parse("conv 16/1\\nhead\\n")))))
executor = RayTuneExecutor(setting, 2)
kept = Path("kept.safetensors")
jobs = [job("probed", probe_only=True), job("screened", "screened"), job("kept", keep=kept), job("again")]
source = Progressing(jobs)
executor.run(source)
executor.run(Progressing([job("later")]))
executor.close()
assert len(pickled) == 1, len(pickled)

network, generator = seeded_network(small, task, 0, torch.device("cpu"))
train, validation = (setting.images(part, (3, 8, 8), torch.device("cpu")) for part in ("train", "validation"))
found = Beginnings(setting.donor).begin(network, train, 0)
expected = [(0, found.accuracy, found.share)]
expected += [(e.number, e.accuracy, None) for e in epochs(network, train, validation, recipe, generator)]
heard = {name: [what for other, *what in source.heard if other == name] for name in ("probed", "screened", "kept", "again")}
assert heard["probed"] == heard["screened"] == [[*expected[0]], ["done"]], heard
assert heard["kept"] == heard["again"] == [*map(list, expected), ["done"]], (heard, expected)
assert kept.read_bytes() == packed(network)
assert 0 < found.share <= 1
"""


@pytest.fixture
def run_program(tmp_path):
    """Runs a program in a folder of its own, which must end well; returns what it printed."""

    def run(text):
        command = [sys.executable, "-c", COMMON + text]
        other = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}  # a cluster that nobody asked to join
        helpers = str(Path(__file__).parents[1] / "helpers")
        other["PYTHONPATH"] = os.pathsep.join(filter(None, [helpers, other.get("PYTHONPATH")]))
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=other, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_what_a_source_hears_and_what_ends_a_session(run_program):
    raised = [line for line in run_program(HEARD).splitlines() if line.startswith("RAISED")]
    full, unwritten, untaught, unstarted = raised
    assert full == "RAISED the disk is full"
    assert unwritten.startswith("RAISED No such file or directory: nowhere/unwritten.part; all results so far are kept")
    assert untaught.startswith("RAISED No such file or directory: nobody/genotype.txt; all results so far are kept")
    assert "workers cannot be started" in unstarted and "No module named 'torch'" in unstarted


def test_a_job_whose_worker_is_killed_runs_again_to_the_same_result_and_is_given_up_at_the_third_loss(run_program):
    run_program(LOST)


def test_a_donor_is_put_into_the_object_store_once_and_workers_begin_with_what_is_inherited(run_program):
    run_program(DONATED)


LIMIT = "the memory limit of 2.0 GiB was reached; use fewer --workers"


@pytest.mark.parametrize(("killed", "said"), [(0, "the worker was lost, 3 times"), (2, LIMIT)])
def test_a_worker_that_was_killed_for_its_memory_says_so(monkeypatch, killed, said):
    from evaluators.training.recipe import load_recipe
    from nas.executors import ray_tune
    from nas.executors.job import Job

    class One:
        def __init__(self):
            self.jobs, self.reasons = [Job("1", "made", "conv 8/1\nhead", load_recipe("proxy"), 0)], []

        def next(self):
            return self.jobs.pop(0) if self.jobs else None

        def failed(self, job, reason):
            self.reasons.append(reason)

    counts = iter([0, killed])
    monkeypatch.setattr(ray_tune, "killed_for_memory", lambda: next(counts))
    monkeypatch.setattr(ray_tune, "memory_limit_bytes", lambda: 2 * 2**30)
    source = One()
    asker = ray_tune._SourceSearcher(source)
    for attempt in range(3):
        asker.suggest(f"trial {attempt}")
        asker.on_trial_complete(f"trial {attempt}", error=True)
    [reason] = source.reasons
    assert said in reason and (LIMIT in reason) == bool(killed)
