"""What is added by one file or one field is there everywhere: a stage, an evaluator, a format, an option."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import Annotated

import click
import numpy as np
import pytest
from click.testing import CliRunner
from made_up_search import Executor, Predictor, Timer, View, probe_of

from evaluators.data import Dataset, Preprocessing, Split
from evaluators.inheritance.find import find_donor
from evaluators.training.recipe import load_recipe
from evaluators.weights import save_weights
from nas.commands.main import cli
from nas.commands.options import Command, options_of
from nas.executors import evaluators
from nas.export import formats
from nas.export.files import Trained, export_trained
from nas.pipeline import stages
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.progress import Silent
from nas.records import Final
from nas.report.result import result
from nas.run.config import EVALUATORS, Number, SearchConfig
from nas.run.folder import open_run
from nas.run.memory import read_journal
from nas.run.options import Option, reference
from nas.sessions.search import start
from search_spaces import plugins
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.schema import checked, strict

STAGE = """
from dataclasses import dataclass

from nas.records import Final, Note

AFTER, MENDS = "finals", False


@dataclass(frozen=True, kw_only=True)
class Applause(Note):
    KIND = "applause"
    to: str


def run(state):
    best = max(state.study.records(Final).values(), key=lambda final: final.accuracy)
    state.study.note(Applause(to=best.genotype), "all")
"""
EVALUATOR = '''"""Rates a network by its name."""

from made_up_search import probe_of

from nas.executors.job import EpochReport

OPTIONS, TRAINS = (), False
HOW, DOES = "candidates are rated by their names", "reads names"


class Names:
    def run(self, source):
        while job := source.next():
            source.progress(job, EpochReport(1, 0.0, probe_of(job.genotype), 0.0))
            source.done(job)

    def close(self):
        pass


def executor(run, setting, view, trainer):
    return Names()
'''
FORMAT = '''"""How many tensors a network has."""

FILE = "model.count"


def write(network, task, path):
    path.write_text(f"{len(network.state_dict())} tensors")
'''
PAIR = '''"""How many tensors a network has, and their names."""

from evaluators.card import Signature

FILE, MORE, SIGNATURE = "model.count", ("model.names",), Signature("in", "out", "CHW")


def write(network, task, path):
    path.write_text(f"{len(network.state_dict())} tensors")
    path.with_suffix(".names").write_text(" ".join(network.state_dict()))
'''
FAILING = '''"""Fails half-way."""

from search_spaces.errors import InputError

FILE = "model.count"


def write(network, task, path):
    path.write_text("half")
    raise InputError("a counter is missing")
'''
OWN = {"genotype.txt", "weights.safetensors", "model.json", "README.md"}  # of every export
DEFAULT = OWN | {"model.onnx", "network.py", "predict.py"}


@pytest.fixture
def dataset():
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 16, 16)).astype(np.uint8)
    split = Split(images, np.arange(8) % 2)
    return Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Adds a module as an installed package does; `known` is what was found of its kind before, if anything keeps that."""

    def file(name, text, kind, known=None):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        if known:
            monkeypatch.setattr(known, "_found", known._found)  # which is put back at the end
            del known._found
        entry = EntryPoint(name, name, f"compact_nas.{kind}")
        monkeypatch.setattr(plugins, "_entry_points", lambda group: [entry] if group == entry.group else [])
        added.append(name)

    added = []
    yield file
    for name in added:
        sys.modules.pop(name, None)


def test_a_stage_is_one_file(made_run, dataset, add):
    add("applause", STAGE, "stages")
    names = [stage.__name__.rpartition(".")[2] for stage in stages.stages()]
    assert names.index("finals") < names.index("applause")
    run = made_run(latency_budget_ms=10.0, data="made", classes=["a", "b"], trials=3, sampler="random")
    state = State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))
    Search(state).run()
    [stage] = [stage for stage in stages.stages() if stage.__name__ == "applause"]
    [applause] = read_journal(run.journal).records(stage.Applause).values()
    assert applause in state.study.records(stage.Applause).values()
    assert applause.to in {final.genotype for final in state.study.records(Final).values()}


def test_an_evaluator_is_one_file(made_run, dataset, add):
    add("by_name", EVALUATOR, "evaluators", EVALUATORS)
    assert evaluators.summaries()["by_name"] == "Rates a network by its name."
    asked = {"trials": 3, "evaluator": "by_name", "sampler": "random"}
    assert checked(SearchConfig, {"latency_budget_ms": 20.0, **asked}, "run.yaml").evaluator == "by_name"
    run = made_run(latency_budget_ms=10.0, data="made", classes=["a", "b"], recipe=load_recipe("proxy", 1), **asked)
    assert open_run(run.path).config.evaluator == "by_name"
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    trials, found = read_journal(run.journal).trials, result(run)
    rated = [t for t in trials if t.outcome == "trained"]
    assert len(rated) == 3 and all(t.accuracies == (probe_of(t.genotype.text),) for t in rated)
    assert found["finished"] and "by_name" in {step["upper"] for step in found["rank_correlations"]}
    best = max(rated, key=lambda t: t.accuracies).genotype
    assert best.id in {entry["id"] for entry in found["finalists"]} and found["anchors"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--evaluator", "by_name", "--epochs", "3"], "--epochs has no effect here: candidates are rated by their names"),
        (
            ["--evaluator", "by_name", "--supernet-epochs", "3"],
            "--supernet-epochs has no effect here: candidates are rated by their names; --evaluator supernet shares weights",
        ),
        (["--evaluator", "by_nam"], 'there is no evaluator "by_nam"; did you mean "by_name"?'),
    ],
)
def test_the_options_of_other_evaluators_are_refused(add, given, message):
    add("by_name", EVALUATOR, "evaluators", EVALUATORS)
    ended = CliRunner().invoke(cli, ["search", "--latency-budget", "20ms", *given], standalone_mode=False)
    assert getattr(ended.exception, "message", str(ended.exception)) == message


def test_an_unknown_evaluator_is_refused_by_the_library():
    with pytest.raises(InputError, match='evaluator: there is no evaluator "supernt"; did you mean "supernet"'):
        start(SearchConfig(latency_budget_ms=20.0, evaluator="supernt"), None, Silent())


@pytest.fixture
def trained(tmp_path):
    genotype = Genotype.parse("conv 8/2\nhead\n").at((3, 8, 8))
    save_weights(build(genotype, genotype.task(2)), tmp_path / "weights.safetensors")
    how = Preprocessing((3, 8, 8), "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
    return Trained(genotype, tmp_path / "weights.safetensors", ["a", "b"], how, "top1", 0.5, 0.5)


def test_an_export_format_is_one_file(add, trained, tmp_path):
    add("count", FORMAT, "formats", formats.FORMATS)
    assert formats.summaries()["count"] == "How many tensors a network has."
    for names in (("onnx", "count"), ("count",), ("count", "onnx", "count")):
        of_formats = {f"model.{name}" for name in names}
        written = export_trained(trained, tmp_path / "export", names)
        assert set(written) == set((tmp_path / "export").iterdir()) and {p.name for p in written} == (
            OWN | of_formats | ({"predict.py"} if "onnx" in names else set())
        )
        files = json.loads((tmp_path / "export" / "model.json").read_text())["files"]
        assert set(files) == of_formats and files["model.count"]["output"] == ["logits", [1, 2]]
        donor = find_donor(str(tmp_path / "export"))
        assert donor.task.classes == 2 and (tmp_path / "export" / "model.count").read_text() == f"{len(donor.tensors)} tensors"


def test_files_of_a_format_that_belong_together_are_exported_and_replaced_together(add, trained, tmp_path):
    add("count", PAIR, "formats", formats.FORMATS)
    names = OWN | {"model.count", "model.names"}
    assert {p.name for p in export_trained(trained, tmp_path / "export", ["count"])} == names
    assert {p.name for p in (tmp_path / "export").iterdir()} == names
    entry = json.loads((tmp_path / "export" / "model.json").read_text())["files"]["model.count"]
    size = sum((tmp_path / "export" / name).stat().st_size for name in ("model.count", "model.names"))
    assert entry == {
        "input": ["in", [3, 8, 8]],
        "layout": "CHW",
        "output": ["out", [2]],
        "more": ["model.names"],
        "bytes": size,
    }
    assert find_donor(str(tmp_path / "export")).task.classes == 2
    export_trained(trained, tmp_path / "export")
    assert {p.name for p in (tmp_path / "export").iterdir()} == DEFAULT


def test_what_a_format_wrote_is_known_without_it_and_nothing_else(add, trained, tmp_path):
    add("count", FORMAT, "formats", formats.FORMATS)
    export_trained(trained, tmp_path / "export", ["count"])
    del formats.FORMATS._found["count"]
    with pytest.raises(InputError, match='there is no export format "count"'):
        export_trained(trained, tmp_path / "export", ["count"])
    (tmp_path / "export" / "model.pt2").write_text("precious")
    with pytest.raises(InputError, match=r"contains model\.pt2, not written by an export"):
        export_trained(trained, tmp_path / "export", ["pt2"])
    (tmp_path / "export" / "model.pt2").unlink()
    assert {p.name for p in export_trained(trained, tmp_path / "export")} == DEFAULT
    assert {p.name for p in (tmp_path / "export").iterdir()} == DEFAULT


@pytest.mark.parametrize("there", [True, False], ids=["over an earlier one", "into a new folder"])
def test_a_format_that_fails_leaves_all_as_it_was_and_a_killed_one_is_no_hindrance(add, trained, tmp_path, there):
    add("count", FAILING, "formats", formats.FORMATS)
    if there:
        export_trained(trained, tmp_path / "export")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="a counter is missing"):
        export_trained(trained, tmp_path / "export", ["count"])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    if (child := os.fork()) == 0:
        formats.load(["count"])["model.count"].InputError = lambda _: os._exit(9)
        export_trained(trained, tmp_path / "export", ["count"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list((tmp_path / "export").glob(".export-*"))) == 1
    assert {p.name for p in export_trained(trained, tmp_path / "export")} == DEFAULT
    assert {p.name for p in (tmp_path / "export").iterdir()} == DEFAULT


def test_two_formats_of_one_file_are_refused(add, trained, tmp_path):
    add("other", FORMAT.replace("model.count", "model.onnx"), "formats", formats.FORMATS)
    with pytest.raises(InputError, match=r"the export format other writes model\.onnx, as another one does"):
        export_trained(trained, tmp_path / "export", ["onnx", "other"])
    assert not (tmp_path / "export").exists()


@strict
@dataclass(frozen=True, kw_only=True)
class Wider(SearchConfig):
    """With one field more."""

    patience: Annotated[Number | None, Option("Trials without a better one.", unset="for ever")] = None


@pytest.mark.parametrize(("given", "expected"), [([], None), (["--patience", "7"], 7)])
def test_an_option_is_one_field(given, expected):
    found = []

    @click.command(cls=Command)
    @options_of(Wider)
    def command(**options):
        found.append(Wider(**options))

    assert CliRunner().invoke(command, ["--latency-budget", "20ms", *given], catch_exceptions=False).exit_code == 0
    [config] = found
    assert config.patience == expected and config.latency_budget_ms == 20
    assert checked(Wider, json.loads(json.dumps(asdict(config))), "run.yaml") == config
    assert "| `--patience` | `patience` | integer >= 1 | for ever | Trials without a better one. |" in reference(Wider)
    assert "--patience" in CliRunner().invoke(command, ["--help"]).output


def test_bounds_hold_on_the_command_line_and_in_files():
    command = click.command(cls=Command)(options_of(Wider)(lambda **options: None))
    ended = CliRunner().invoke(command, ["--latency-budget", "20ms", "--patience", "0"])
    assert ended.exit_code == 2 and "--patience" in ended.output
    with pytest.raises(InputError, match=r"run\.yaml: patience must be at least 1, not 0"):
        checked(Wider, {"latency_budget_ms": 20.0, "patience": 0}, "run.yaml")
