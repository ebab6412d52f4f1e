"""Trainings in this process: what a source hears and what ends a session, as from Ray's workers."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_donor import made_up_donor

from evaluators.data import Dataset, Split
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import load_recipe
from evaluators.weights import packed, save_weights
from nas.executors.in_process import InProcessExecutor
from nas.executors.job import EpochReport, Job, Setting
from nas.executors.trainer import Trainer
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

SMALL, INPUT = "input 3x8x8\nconv 8/1\nhead\n", (3, 8, 8)
RECIPE = replace(load_recipe("final", epochs=3), least_images=128)
WHOLE = [1, 2, 3, "done"]


class Source:
    """Its jobs are done in order; `stop` is stopped after two epochs, and a report of `full` raises."""

    def __init__(self, *jobs):
        self.jobs, self.heard, self.reports = list(jobs), {}, []

    def next(self):
        return self.jobs.pop(0) if self.jobs else None

    def progress(self, job, progress):
        self._hear(job, progress.epoch)
        self.reports.append(progress)
        if job.id == "full":
            raise InputError("the disk is full")
        return job.id == "stop" and progress.epoch == 2

    def done(self, job):
        self._hear(job, "done")

    def failed(self, job, reason):
        self._hear(job, reason)

    def _hear(self, job, what):
        self.heard.setdefault(job.id, []).append(what)


def job(name, genotype=SMALL, recipe=RECIPE, **settings):
    return Job(name, "", genotype, recipe, 0, **settings)


@pytest.fixture
def setting():
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (64, 3, 8, 8)).astype(np.uint8), rng.integers(0, 2, 64))
    dataset = Dataset("made", (INPUT,), ("a", "b"), split, split, split, "made for a test")
    return Setting(dataset, *dataset.mean_std(), "top1", 1)


@pytest.fixture
def executor(setting):
    made = InProcessExecutor(setting)
    yield made
    made.close()


def trained(setting, donor=None, teacher=None):
    """The small network as the training's own functions train it, and what each epoch should report."""
    cpu = torch.device("cpu")
    network, generator = seeded_network(Genotype.parse(SMALL), Task(INPUT, 2), 0, cpu)
    train, validation = (setting.images(part, INPUT, cpu) for part in ("train", "validation"))
    reports = []
    if donor:
        found = Beginnings(donor).begin(network, train, 0)
        reports.append((0, 0.0, found.accuracy, found.share))
    done = list(epochs(network, train, validation, RECIPE, generator, teacher=teacher))
    return network, [*reports, *((e.number, e.loss, e.accuracy, None) for e in done)]


def heard(reports: list[EpochReport]):
    return [(r.epoch, r.loss, r.accuracy, r.inherited) for r in reports]


def test_a_source_hears_of_each_epoch_and_of_the_end(setting, executor):
    source = Source(
        job("whole"),
        job("stop"),
        job("broken", "nonsense\n"),
        job("hot", recipe=replace(RECIPE, learning_rate=1e30)),
        job("after"),
    )
    executor.run(source)
    assert list(source.heard) == ["whole", "stop", "broken", "hot", "after"]
    assert source.heard["whole"] == source.heard["after"] == WHOLE and source.heard["stop"] == [1, 2, "done"]
    [broken] = source.heard["broken"]
    assert "nonsense" in broken and "the loss was" in source.heard["hot"][-1]
    assert heard(source.reports[:3]) == trained(setting)[1]
    rates = [report.learning_rate for report in source.reports[:3]]
    assert rates[0] > rates[1] > rates[2] > 0


def test_a_network_inherits_and_its_weights_are_kept(setting, tmp_path):
    donor = made_up_donor(Genotype.parse("conv 16/1\nhead\n"))
    executor, kept = InProcessExecutor(replace(setting, donor=donor)), tmp_path / "kept.safetensors"
    source = Source(job("probed", probe_only=True), job("kept", keep=kept))
    executor.run(source)
    executor.close()
    network, expected = trained(setting, donor)
    assert heard(source.reports) == [expected[0], *expected]
    assert source.heard == {"probed": [0, "done"], "kept": [0, *WHOLE]}
    assert kept.read_bytes() == packed(network) and expected[0][-1] > 0


def test_a_teacher_is_read_from_its_folder(setting, executor, tmp_path):
    from evaluators.training.distill import load_teacher

    wide, cpu = Genotype.parse("input 3x8x8\nconv 16/1\nhead\n"), torch.device("cpu")
    save_weights(seeded_network(wide, Task(INPUT, 2), 7, cpu)[0], tmp_path / "weights.safetensors")
    (tmp_path / "genotype.txt").write_text(wide.text)
    source = Source(job("taught", teacher=tmp_path))
    executor.run(source)
    taught_by = load_teacher(tmp_path, Task(INPUT, 2), cpu, (setting.mean, setting.std))
    assert heard(source.reports) == trained(setting, teacher=taught_by)[1] != trained(setting)[1]


@pytest.mark.parametrize(
    ("fatal", "message"),
    [
        (job("full"), "the disk is full"),
        (job("unwritten", keep=Path("nowhere", "unwritten.safetensors")), "No such file or directory: nowhere/unwritten.part"),
        (job("untaught", teacher=Path("nobody")), "there is no genotype file nobody/genotype.txt"),
    ],
)
def test_what_is_no_fault_of_the_network_ends_the_session(executor, tmp_path, monkeypatch, fatal, message):
    monkeypatch.chdir(tmp_path)
    source = Source(fatal, job("never"))
    with pytest.raises(InputError) as error:
        executor.run(source)
    assert str(error.value).startswith(message) and "\n" not in str(error.value) and "never" not in source.heard
    assert fatal.id == "full" or str(error.value).endswith("; all results so far are kept, continue with `nas resume`")


def test_torch_has_the_setting_s_threads_until_the_end(setting):
    before = torch.get_num_threads()
    executor = InProcessExecutor(replace(setting, threads=before + 1))
    during = torch.get_num_threads()
    executor.close()
    assert (during, torch.get_num_threads()) == (before + 1, before)


def test_a_teacher_that_cannot_be_read_is_named_as_it_was_given(setting, tmp_path):
    (tmp_path / "copy").mkdir()
    trainer = Trainer(setting, lambda _: nullcontext(tmp_path / "copy"))
    trainer.start(job("untaught", teacher=Path("given")))
    result = trainer.step()
    assert result["fatal"] and "given/genotype.txt" in result["failure"] and "copy" not in result["failure"]
