"""A search whose candidates a supernet scores: trained once, kept, never again; anchors outside its space are references."""

import random
from dataclasses import replace

import numpy as np
import pytest
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import Dataset, Split
from evaluators.supernet.supernet import Supernet
from evaluators.training.recipe import load_recipe
from nas.executors import evaluators
from nas.executors.job import Job, Setting
from nas.executors.supernet import SupernetExecutor
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report.result import result
from nas.run.folder import open_run
from nas.run.memory import read_journal
from nas.run.tensorboard import EventFiles
from search_spaces.errors import InputError
from search_spaces.space_file import load_space
from search_spaces.task import Task

RECIPE = load_recipe("proxy", 2)


def split(n=48):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    images = rng.integers(0, 120, (n, 3, 16, 16)).astype(np.uint8)
    images[labels == 1, 0] += 100
    return Split(images, labels)


DATASET = Dataset("made", ((3, 16, 16),), ("a", "b"), split(), split(), split(), "made for a test")
SETTING = Setting(DATASET, (0.5,) * 3, (0.25,) * 3, "top1", 1)
TASK = Task((3, 16, 16), 2)


@pytest.fixture
def space(small_space, tmp_path):
    (tmp_path / "small.yaml").write_text(small_space)
    return load_space(str(tmp_path / "small.yaml"))


@pytest.fixture
def recipe():
    return replace(RECIPE, least_images=64, batch_size=16)


class Jobs:
    """A source of jobs for genotypes; keeps what it is told."""

    def __init__(self, recipe, *texts):
        self.waiting = [Job(str(i), "search", text, recipe, seed=0) for i, text in enumerate(texts)]
        self.told = []

    def next(self):
        return self.waiting.pop(0) if self.waiting else None

    def progress(self, job, progress):
        self.told.append((job.id, progress.epoch, progress.accuracy))
        return False

    def done(self, job):
        self.told.append((job.id, "done"))

    def failed(self, job, reason):
        self.told.append((job.id, "failed", reason))


def test_each_job_is_one_epoch_with_the_score_and_what_is_outside_the_space_fails(space, recipe, tmp_path):
    kept = tmp_path / "supernet.safetensors"
    inside = space.sample(random.Random(0))
    executor = SupernetExecutor(SETTING, space, recipe, 0, kept=kept, view=View())
    jobs = Jobs(recipe, inside.text, "input 3x16x16\nconv 99/1\nhead")
    executor.run(jobs)
    supernet = Supernet(space, TASK, seed=0)
    supernet.load(kept)
    [score, done, failed] = jobs.told
    assert score == ("0", 1, supernet.score(inside, executor._train, executor._validation, recipe)) and done == ("0", "done")
    assert failed[:2] == ("1", "failed") and "cannot score it: stem.width" in failed[2]


def test_it_is_trained_once_and_goes_on_from_the_last_epoch_kept(space, recipe, tmp_path, monkeypatch):
    view, kept = View(), tmp_path / "supernet.safetensors"
    save = Supernet.save

    def interrupted(self, path):
        save(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Supernet, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        SupernetExecutor(SETTING, space, recipe, 0, kept=kept, view=view, events=EventFiles(tmp_path))
    monkeypatch.setattr(Supernet, "save", save)
    SupernetExecutor(SETTING, space, recipe, 0, kept=kept, view=view, events=EventFiles(tmp_path))
    SupernetExecutor(SETTING, space, recipe, 0, kept=kept, view=view, events=EventFiles(tmp_path))
    epochs = [line for line in view.lines if line.startswith("supernet, epoch")]
    assert [line.split(":")[0].split()[-1] for line in epochs] == ["2"]  # the first was kept before its line was shown
    assert view.lines.count("train the supernet") == 2
    assert len(list((tmp_path / "tensorboard" / "supernet").iterdir())) == 2  # one a process that trained
    assert list(tmp_path.glob("*.part")) == []


def test_a_loss_that_is_not_finite_is_said_in_one_message(space, recipe, tmp_path):
    with pytest.raises(InputError, match=r"the supernet cannot be trained with this recipe.*the loss was"):
        hot = replace(recipe, learning_rate=1e30)
        SupernetExecutor(SETTING, space, hot, 0, kept=tmp_path / "supernet.safetensors", view=View())


def test_a_search_takes_scores_for_trainings_and_retrains_the_best_and_the_anchors(made_run, recipe):
    run = made_run(
        latency_budget_ms=10.0,
        data="made",
        classes=["a", "b"],
        trials=4,
        finalists=2,
        sampler="random",
        recipe=replace(recipe, epochs=1),
        evaluator="supernet",
        supernet_epochs=2,
    )
    assert open_run(run.path).config == run.config
    view = View()
    Search(State(run, DATASET, Predictor(), Executor, view, timer=Timer(lambda _: 5.0))).run()
    found, trials = result(run), read_journal(run.journal).trials
    supernet = Supernet(run.space(), TASK, run.config.seed)
    supernet.load(run.supernet)
    assert supernet.trained == 2
    executor = evaluators.load("supernet").executor(run, SETTING, view, Executor)
    for trial in (t for t in trials if t.outcome == "trained"):
        score = supernet.score(trial.genotype, executor._train, executor._validation, recipe)
        assert trial.accuracies == (score,) and trial.anchor is None
    assert found["counts"]["trained"] == 4 and found["counts"]["anchors_trained"] == 0
    assert found["finished"] and len(found["finalists"]) >= 2 and found["anchors"][0]["validation_accuracy"] is not None
    assert "supernet" in {step["upper"] for step in found["rank_correlations"]}
    assert view.lines.index("train the supernet") < view.lines.index("search")


@pytest.mark.slow
def test_nas_search_with_a_supernet_and_resume(nas_here, quick_search, tmp_path):
    at = quick_search.index("--epochs")  # which a supernet refuses
    scored = [*quick_search[:at], *quick_search[at + 2 :], "--evaluator", "supernet", "--supernet-epochs", 3, "--no-measure"]
    code, out, err = nas_here(*scored, "--run", tmp_path / "run")
    assert code == 0, err
    assert "supernet, epoch   3" in out and "Ready to deploy" in out
    code, out, err = nas_here("resume", tmp_path / "run")
    assert code == 0 and "supernet, epoch" not in out, err
