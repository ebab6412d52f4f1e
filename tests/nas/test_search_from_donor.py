"""The order of a search that inherits, with trainings and probes made up: who is probed, trained, retrained and shown."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_donor import made_up_donor
from made_up_search import Executor, Predictor, Timer, View, accuracy_of, probe_of
from rich.console import Console

from evaluators.data import Dataset, Split
from evaluators.data._render import Rendered
from evaluators.training.recipe import load_recipe
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report import table
from nas.report.result import result
from nas.run.folder import open_run
from nas.run.memory import read_journal
from search_spaces.anchor import base_name
from search_spaces.genotype import Genotype

ANCHORS = ["mobilenet_v2:0.35", "shufflenet_v2:0.5", "squeezenet:1.1"]
INPUTS = ((3, 16, 16), (3, 24, 24))


def _dataset():
    rng = np.random.default_rng(0)
    images = {side: rng.integers(0, 255, (8, 3, side, side)).astype(np.uint8) for side in (16, 24)}
    labels = np.arange(8) % 2
    held = Split(Rendered({(side, side): array for side, array in images.items()}), labels)
    return Dataset("made", INPUTS, ("a", "b"), Split(images[24], labels), held, held, "made for a test")


class Nothing(Executor):
    """Hand-designed networks inherit nothing."""

    def progress(self, job, epoch):
        found = super().progress(job, epoch)
        if epoch == 0 and job.label.startswith("anchor:"):
            object.__setattr__(found, "inherited", 0.0)
        return found


@pytest.fixture
def donor():
    return made_up_donor(Genotype.parse("conv 16/1\ninverted_residual 24/2 expand=2\nhead\n"))


@pytest.fixture
def make(made_run, small_space, donor):
    """Makes the folder of a run with a donor over two inputs."""

    def run(kept=donor, standing=(), **settings):
        text = small_space.replace("input: [3, 16, 16]", "input: {channels: 3, size: [16, 24]}")
        text += "".join(f'  "{name}": stem.width\n' for name in standing)
        usual = {"latency_budget_ms": 10.0, "data": "made", "classes": ["a", "b"], "trials": 4, "finalists": 1, "rivals": 2}
        return made_run(kept=kept, text=text, **{**usual, "sampler": "random", "anchors": ANCHORS, **settings})

    return run


def _searched(run, donor, executor=Executor, view=None):
    meter = Timer(lambda _: 5.0)
    Search(State(run, _dataset(), Predictor(), executor, view or View(), timer=meter, donor=donor)).run()
    return result(run), read_journal(run.journal)


def test_every_hand_designed_network_is_probed_at_every_input_and_the_best_are_trained_at_their_best(make, donor):
    found, memory = _searched(make(), donor)
    entered = {t.anchor: t for t in memory.trials if t.anchor}
    assert set(entered) == {f"{name}@{side}" for name in ("mobilenet_v3:small", *ANCHORS) for side in (16, 24)}
    best = {name: max((16, 24), key=lambda side: entered[f"{name}@{side}"].probe) for name in map(base_name, entered)}
    trained = {name for name, t in entered.items() if t.outcome != "screened"}
    assert trained == {f"{name}@{side}" for name, side in best.items()}  # all but one were asked for by name
    assert all(t.probe == probe_of(t.genotype.text) for t in entered.values())
    assert [e["probe"] for e in found["probed"]] == sorted((t.probe for t in entered.values()), reverse=True)


def test_only_the_best_by_their_probes_are_trained_and_the_donor_whatever_its_probe(make, donor):
    own = made_up_donor(Genotype.parse("conv 16/1\nhead\n"))
    object.__setattr__(own, "name", "squeezenet:1.1")
    run = make(kept=own, standing=ANCHORS[:2], anchors=[], rivals=1)
    assert "squeezenet:1.1" in open_run(run.path).space().anchors
    found, memory = _searched(run, own)
    entered = {t.anchor: t for t in memory.trials if t.anchor}
    best = max((t for t in entered.values() if base_name(t.anchor) != own.name), key=lambda t: t.probe)
    assert {base_name(name) for name in entered} == {"mobilenet_v3:small", *ANCHORS}
    trained = {name for name, t in entered.items() if t.accuracies}
    assert len(trained) == 2 and best.anchor in trained and {base_name(name) for name in trained} > {own.name}
    assert "squeezenet:1.1" in {base_name(a["anchor"]) for a in found["anchors"]}


def test_probes_and_shares_stand_in_the_result_and_the_donor_under_the_table(make, donor):
    run, view = make(), View()
    found, memory = _searched(run, donor, Nothing, view)
    assert view.lines.index("probe the hand-designed networks") < view.lines.index("search")
    for entry in [*found["finalists"], *found["anchors"]]:
        assert entry["inherited"] == (0.0 if entry["anchor"] else 0.5) and entry["probe"] == probe_of(entry["genotype"])
        assert tuple(entry["input"]) in INPUTS
    candidates = [t for t in memory.trials if t.anchor is None and t.outcome != "repeated"]
    assert {t.outcome for t in candidates} >= {"screened"} and found["counts"]["trained"] == 4
    console = Console(record=True, width=240)
    table.show(console, found)
    lines = console.export_text().splitlines()
    assert any("Networks inherited weights from made up" in line for line in lines)


@pytest.mark.parametrize("stop_after", [3, 9, 12, 20])
def test_interrupted_in_any_phase_and_resumed_it_is_the_same_search(make, donor, tmp_path, stop_after):
    whole = make()
    _searched(whole, donor)
    expected = _facts(whole)
    (tmp_path / "run").rename(tmp_path / "whole")
    run, told = make(), []

    class Stopping(Executor):
        def progress(self, job, epoch):
            told.append(job)
            if len(told) == stop_after:
                raise KeyboardInterrupt
            return super().progress(job, epoch)

    with pytest.raises(KeyboardInterrupt):
        _searched(run, donor, Stopping)
    _searched(open_run(run.path), donor)
    assert _facts(run) == expected


def _facts(run):
    memory = read_journal(run.journal)
    return memory.trials, {
        k: {**f, "at": 0} for k, f in memory.facts.items() if k.partition(":")[0] in ("probe", "final", "test")
    }


def test_with_a_supernet_candidates_are_scored_and_finalists_and_hand_designed_networks_inherit(make, donor):
    recipe = replace(load_recipe("proxy", 1), least_images=32, batch_size=8)
    run = make(evaluator="supernet", supernet_epochs=1, recipe=recipe, anchors=ANCHORS[:1], rivals=1)
    found, memory = _searched(run, donor)
    scored = [t for t in memory.trials if t.outcome == "trained"]
    assert len(scored) == 4 and all(t.probe is None and t.inherited is None and t.anchor is None for t in scored)
    assert {t.genotype.input for t in scored} == set(INPUTS), "another seed is needed"
    entries = found["finalists"] + found["anchors"]
    assert {base_name(a["anchor"]) for a in found["anchors"]} == {"mobilenet_v3:small", ANCHORS[0]}
    assert all(e["inherited"] == 0.5 and e["probe"] == probe_of(e["genotype"]) for e in entries)
    assert all(e["validation_by_seed"][0] == accuracy_of(e["genotype"]) for e in entries)
