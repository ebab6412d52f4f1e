"""Whether exported networks hold their latency budget: whole searches, real predictions and measurements, made-up training.

usage: python benchmarks/latency_budget.py [--space S] [--device D] [--budgets N] [--seeds N] [--trials N] [--percentile 50|90]
                                    [--sessions N] [--keep FOLDER]

Budgets are spread over the space's predicted latencies. Accuracy is a fixed formula of params and MACs in place of
training, so that a search is drawn to the budget. When all searches are done, what each of them exported is timed again, each
time in a fresh process of its own, the networks in turns, until each has the wanted number of sessions at the speed that was
promised: in which the machine was at most 3 % slower than it usually is, by its profile. A virtual machine whose
neighbours are busy says nothing of the network. The truth that is printed is their median; where a dozen rounds did not
bring enough of them, that of all sessions. With --keep the runs stay in a folder, and another call with it times their
networks again.
"""

import argparse
import math
import random
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from evaluators.cost import cost
from evaluators.data import Dataset, Split
from evaluators.latency.device.measure_networks import Bench, measure_apart
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.runtime import load_runtime
from evaluators.latency.timing.measure import Measurement
from evaluators.training.recipe import load_recipe
from evaluators.weights import load_network
from nas.budget.device import known_profile, precision_of, predictor_of
from nas.console import make_console
from nas.executors.job import EpochReport, Setting, Source
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report import files as report
from nas.run.config import Resolved, SearchConfig
from nas.run.folder import Run, create, open_run
from nas.sessions.measure import MeasureConfig, measured
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space, space_text
from search_spaces.task import Task

_CLASSES = ("a", "b")
_SIZE = 32
_ROUNDS = 12
_SLOWER = 0.03  # than it usually is, at most, in sessions that count


class Formula:
    """An executor that trains nothing: accuracy grows with the logarithms of MACs and params, and a little by chance."""

    def __init__(self, setting: Setting) -> None:
        pass

    def run(self, source: Source) -> None:
        while job := source.next():
            genotype = Genotype.parse(job.genotype)
            task = genotype.task(len(_CLASSES))
            for epoch in range(1, job.recipe.epochs + 1):
                if source.progress(job, EpochReport(epoch, 0.0, accuracy(genotype, task), 0.0)):
                    break
            if job.keep:
                torch.manual_seed(job.seed)
                save_file(build(genotype, task).state_dict(), job.keep)
            source.done(job)

    def close(self) -> None:
        """Nothing to give back."""


def accuracy(genotype: Genotype, task: Task) -> float:
    """Between 0 and 1; what is left to chance follows from the genotype."""
    found = cost(genotype, task)
    score = 0.8 * math.log10(found.macs + 1) + 0.2 * math.log10(found.params + 1)
    return min(1.0, score / 10 + 0.01 * random.Random(genotype.id).random())


class Quiet:
    """A view that shows nothing."""

    def phase(self, title: str, total: int, done: int = 0) -> None: ...

    def step(self, line: str = "") -> None: ...

    def working(self, epochs: float) -> None: ...

    def best(self, text: str) -> None: ...

    def say(self, line: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """A search's budget and seed, its exported network's entry in the result, and the run; no entry when none held."""

    budget_ms: float
    seed: int
    entry: dict[str, Any] | None
    run: Run


class Row(NamedTuple):
    """An outcome, the session that is taken for the truth of its network, and how many were too busy to count."""

    outcome: Outcome
    truth: Measurement | None
    aside: int


def main() -> None:
    flags = _flags()
    console = make_console()
    space = load_space(flags.space)
    path = known_profile(flags.device, space) or measured(console, space, MeasureConfig(device=flags.device))
    profile = load_profile(str(path))
    budgets = _budgets(space, predictor_of(path, space), flags.budgets)
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = list(_searches(flags.keep or Path(scratch), space, path, budgets, flags))
        rows = _truths(outcomes, Bench.of(profile, space), flags.sessions, flags.percentile)
    print(f"{space.name} on {profile.device}; {flags.trials} trials, p{flags.percentile}, bound at {flags.confidence:g}")
    _print(rows, flags.percentile)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--device", default="local")
    parser.add_argument("--budgets", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--percentile", type=int, choices=(50, 90), default=50)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    return parser.parse_args()


def _budgets(space: SearchSpace, predictor: Any, count: int) -> list[float]:
    """Evenly spread quantiles of the upper bounds of 64 random genotypes."""
    rng, task = random.Random(1), space.task(len(_CLASSES))
    bounds = sorted(predictor.predict(space.sample(rng), task).bound_ms for _ in range(64))
    return [float(f"{bounds[round((i + 0.5) / count * len(bounds))]:.3g}") for i in range(count)]


def _searches(
    folder: Path, space: SearchSpace, profile: Path, budgets: list[float], flags: argparse.Namespace
) -> Iterator[Outcome]:
    dataset = _noise()
    text = yaml.safe_dump({**yaml.safe_load(space_text(flags.space)), "anchors": {}}, sort_keys=False)
    predictor = predictor_of(profile, space, flags.confidence)
    for budget_ms in budgets:
        for seed in range(flags.seeds):
            place, made = folder / f"{budget_ms:g}-{seed}", _config(profile, budget_ms, seed, flags)
            run = open_run(place) if place.exists() else create(place, *made, text, profile)
            Search(State(run, dataset, predictor, Formula, Quiet())).run()
            found = report.write(run)
            yield Outcome(budget_ms, seed, found["best"], run)
            held = f"{found['best']['p50_ms']:.2f} ms" if found["best"] else "nothing held it"
            print(f"budget {budget_ms:g} ms, seed {seed}: {held}", flush=True)


def _noise() -> Dataset:
    """Images that only calibrate and test networks."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, _SIZE, _SIZE)).astype(np.uint8), np.arange(8) % 2)
    return Dataset("made", ((3, _SIZE, _SIZE),), _CLASSES, split, split, split, "made for a benchmark")


def _config(profile: Path, budget_ms: float, seed: int, flags: argparse.Namespace) -> tuple[SearchConfig, Resolved]:
    config = SearchConfig(
        latency_budget_ms=budget_ms,
        space=flags.space,
        device=flags.device,
        data="made",
        trials=flags.trials,
        finalists=3,
        final_seeds=2,
        rivals=1,
        seed=seed,
        confidence=flags.confidence,
        percentile=flags.percentile,
    )
    resolved = Resolved(
        space=load_space(flags.space).name,
        classes=list(_CLASSES),
        mean=[0.5] * 3,
        std=[0.25] * 3,
        interpolation="bilinear",
        padding="symmetric",
        donor=None,
        workers=1,
        recipe=load_recipe("proxy", epochs=1),
        final_recipe=load_recipe("final", epochs=1),
        precision=precision_of(profile),
    )
    return config, resolved


def _truths(outcomes: list[Outcome], bench: Bench, sessions: int, percentile: int) -> list[Row]:
    """Each outcome with the session of the median figure of its exported network, and how many sessions were set aside."""
    exported = {i: _file(o, bench) for i, o in enumerate(outcomes) if o.entry}
    found: dict[int, list[Measurement]] = {i: [] for i in exported}
    for number in range(_ROUNDS):
        for i, file in exported.items():
            if len(_usual(found[i], bench)) < sessions:
                found[i] += measure_apart([file], 5.0, bench, number)
    rows: list[Row] = []
    for i, outcome in enumerate(outcomes):
        known = found.get(i, [])
        counted = sorted(
            _usual(known, bench) if len(_usual(known, bench)) >= sessions else known,
            key=lambda m: m.p90_ms if percentile == 90 else m.p50_ms,
        )
        rows.append(Row(outcome, counted[(len(counted) - 1) // 2] if counted else None, len(known) - len(counted)))
    return rows


def _usual(found: list[Measurement], bench: Bench) -> list[Measurement]:
    return [m for m in found if 1 + m.contention <= (1 + _SLOWER) * (1 + bench.usual)]


def _file(outcome: Outcome, bench: Bench) -> Path:
    """The exported file; runtimes that do not read ONNX are given their own."""
    from nas.export.files import INT8, export
    from nas.export.quantised import quantisation_of

    assert outcome.entry is not None
    run, code = outcome.run, load_runtime(bench.runtime)
    if not (run.path / "export").exists():
        export(run, outcome.entry, run.path / "export", quantisation=quantisation_of(run, outcome.entry, _noise()))
    if code.SUFFIX == ".onnx":
        return run.path / "export" / (INT8 if run.resolved.precision == "int8" else "model.onnx")
    genotype, file = Genotype.parse(outcome.entry["genotype"]), run.path / f"model{code.SUFFIX}"
    task = genotype.task(len(_CLASSES))
    code.prepare(load_network(genotype, task, run.weights(outcome.entry["id"])), task, file)
    return file


def _print(rows: list[Row], percentile: int) -> None:
    names = ("budget ms", "seed", "predicted", "bound", "measured", "busy", "set aside", "used", "sessions")
    print("\n" + " ".join(f"{name:>9}" for name in names) + "  held")
    used = []
    for outcome, truth, aside in rows:
        if truth is None or outcome.entry is None:
            print(f"{outcome.budget_ms:9g} {outcome.seed:9}  no network held it when the search measured")
            continue
        ms = asdict(truth)[f"p{percentile}_ms"]
        used.append(ms / outcome.budget_ms)
        entry, held = outcome.entry, "yes" if used[-1] <= 1 else "NO"
        print(
            f"{outcome.budget_ms:9g} {outcome.seed:9} {entry['predicted_ms']:9.3f} {entry['bound_ms']:9.3f} {ms:9.3f} "
            f"{truth.contention:9.0%} {aside:9} {used[-1]:9.1%} {entry['sessions']:9}  {held}"
        )
    if not used:
        raise InputError("no search exported anything; larger budgets or more trials are needed")
    within = sum(share <= 1 for share in used)
    print(
        f"{within} of {len(used)} exported networks within budget in a process of their own ({len(rows) - len(used)} of "
        f"{len(rows)} searches exported nothing); mean share of the budget used {statistics.fmean(used):.1%}"
    )


if __name__ == "__main__":
    main()
