"""--tensorboard: TensorBoard itself reads loss, learning rate and accuracy of every epoch, once, whatever was interrupted."""

import json
from importlib import metadata
from types import SimpleNamespace

import pytest
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import load
from evaluators.training.loop import Training
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.records import Again, Final
from nas.run.memory import read_journal
from nas.run.tensorboard import EventFiles

NAMES = ["learning rate", "loss", "validation accuracy"]


@pytest.fixture
def read():
    """Reads a folder of event files: the (epoch, value) of each scalar, by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def scalars(folder):
        events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        names = events.Tags()["scalars"]
        assert sorted(names) == NAMES
        return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}

    return scalars


def _epoch(number):
    return SimpleNamespace(loss=1 / number, learning_rate=0.1, accuracy=number / 10)


@pytest.mark.parametrize("begins", [1, 3, 4])
def test_a_training_that_is_continued_has_every_epoch_once(tmp_path, read, begins):
    for numbers in (range(1, 4), range(begins, 5)):
        events = EventFiles(tmp_path)
        for number in numbers:
            events.epoch("final/mobilenet_v3:small@96", number, _epoch(number))
        events.close()
    found = read(tmp_path / "tensorboard" / "final" / "mobilenet_v3:small@96")
    assert found["loss"] == [(number, pytest.approx(1 / number)) for number in range(1, 5)]


def test_a_training_that_was_interrupted_is_written_once_as_in_its_result(workshop, nas_here, read, tmp_path, monkeypatch):
    (tmp_path / "net.txt").write_text("input 3x16x16\nconv 8/1\nhead\n")
    whole = Training.epoch
    left = [None, KeyboardInterrupt, None, None]

    def epoch(self):
        if error := left.pop(0):
            raise error
        return whole(self)

    monkeypatch.setattr(Training, "epoch", epoch)
    asked = ["train", "net.txt", "--from-scratch", "--data", f"imagefolder:{workshop / 'images'}", "--to", "out"]
    code, _, _ = nas_here(*asked, "--recipe", workshop / "quick.yaml", "--epochs", 3, "--tensorboard")
    assert code == 130
    code, _, err = nas_here("resume", "out")
    assert code == 0, err
    found, epochs = (
        read(tmp_path / "out" / "tensorboard" / "network"),
        json.loads((tmp_path / "out" / "curve.json").read_text()),
    )
    for name, key in zip(NAMES, ("learning_rate", "loss", "accuracy"), strict=True):
        assert found[name] == [(epoch["number"], pytest.approx(epoch[key])) for epoch in epochs], name
    rates = [epoch["learning_rate"] for epoch in epochs]
    assert len(rates) == 3 and rates[0] > rates[1] > rates[2] > 0  # cosine decay


def test_every_training_of_a_search_is_written(made_run, read):
    run = made_run(tensorboard=True, sampler="random")
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    memory, folder = read_journal(run.journal), run.path / "tensorboard"
    trials = {f"search/{t.anchor or t.genotype.id}": t.accuracies for t in memory.trials if t.accuracies}
    finals = {f"final/{f.anchor or i}": f.accuracies for i, f in memory.records(Final).items()}
    again = {
        f"again/{f.anchor or key.partition('/')[0]}/{key.partition('/')[2]}": f for key, f in memory.records(Again).items()
    }
    wanted = trials | finals | {name: final.accuracies for name, final in again.items()}
    assert {str(file.parent.relative_to(folder)) for file in folder.rglob("events.*")} == set(wanted) and again
    for name, accuracies in wanted.items():
        assert read(folder / name)["validation accuracy"] == list(enumerate(map(pytest.approx, accuracies), 1)), name


@pytest.mark.parametrize("command", [["search", "--latency-budget", "20ms"], ["train", "mobilenet_v2"]])
def test_without_tensorboard_it_is_refused_before_any_work(nas_anywhere, tmp_path, monkeypatch, command):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr("evaluators.installed.metadata.version", version)
    code, out, err = nas_anywhere(*command, "--tensorboard")
    assert code == 2 and not out and err.count("\n") == 1 and "pip install 'compact-nas[tensorboard]'" in err
    assert list(tmp_path.iterdir()) == []


def test_without_the_flag_nothing_is_written(made_run):
    run = made_run()
    State(run, load(run.config.data, inputs=[(3, 16, 16)]), Predictor(), Executor, View(), timer=Timer(lambda _: 5.0)).close()
    assert not (run.path / "tensorboard").exists()
