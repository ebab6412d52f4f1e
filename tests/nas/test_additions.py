"""What is added by one file or one field is there everywhere: a stage of the search, an option."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import Annotated

import click
import numpy as np
import pytest
from click.testing import CliRunner
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import Dataset, Split
from nas.commands.options import Command, options_of
from nas.pipeline import stages
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.records import Final
from nas.run.config import Number, SearchConfig
from nas.run.memory import read_journal
from nas.run.options import Option, reference
from search_spaces import plugins
from search_spaces.errors import InputError
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


@pytest.fixture
def dataset():
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 16, 16)).astype(np.uint8)
    split = Split(images, np.arange(8) % 2)
    return Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")


def test_a_stage_is_one_file(made_run, dataset, tmp_path, monkeypatch):
    (tmp_path / "applause.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("applause", "applause", "compact_nas.stages")
    monkeypatch.setattr(plugins, "_entry_points", lambda group: [entry] if group == entry.group else [])
    names = [stage.__name__.rpartition(".")[2] for stage in stages.stages()]
    assert names.index("finals") < names.index("applause")
    run = made_run(latency_budget_ms=10.0, data="made", classes=["a", "b"], trials=3, sampler="random")
    state = State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))
    Search(state).run()
    [stage] = [stage for stage in stages.stages() if stage.__name__ == "applause"]
    [applause] = read_journal(run.journal).records(stage.Applause).values()
    assert applause in state.study.records(stage.Applause).values()
    assert applause.to in {final.genotype for final in state.study.records(Final).values()}


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
    assert "| `--patience` | `patience` | whole number from 1 | for ever | Trials without a better one. |" in reference(Wider)
    assert "--patience" in CliRunner().invoke(command, ["--help"]).output


def test_bounds_hold_on_the_command_line_and_in_files():
    command = click.command(cls=Command)(options_of(Wider)(lambda **options: None))
    ended = CliRunner().invoke(command, ["--latency-budget", "20ms", "--patience", "0"])
    assert ended.exit_code == 2 and "--patience" in ended.output
    with pytest.raises(InputError, match=r"run\.yaml: patience must be at least 1, not 0"):
        checked(Wider, {"latency_budget_ms": 20.0, "patience": 0}, "run.yaml")
