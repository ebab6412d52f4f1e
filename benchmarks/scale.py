"""How a search grows: thousands of trials, hundreds of workers, with trainings simulated and everything else as in a run.

usage: python benchmarks/scale.py search RUN [--trials N] [--filled N] [--workers W] [--profile FILE.json] [--seed S]
       python benchmarks/scale.py files RUN [--trials N,N,...]
       python benchmarks/scale.py workers TABLES [--workers W,W,...] [--seeds N] [--budget MS]

`search` makes a run of the space `mobile` whose trainings take 30 to 90 s on a virtual clock, spread as those of runs/example;
one in fifty takes three times as long, one in a hundred fails. It prints, for each hundred proposals, their processor time, the
mean of that of reports, and the memory of the process. Before them the candidates of the first proposal are estimated, which a
run does in the background while its first networks are trained; the seconds are printed. Accuracies are made up: each block has
an effect, and there is noise.
With `--filled A,B,...` the run first gets trials of random networks until it has A, then is searched for N trials, and so on.
`files` cuts that run's journal after some numbers of trials: resuming, `nas status`, `nas report`. `workers` searches
NAS-Bench-201 with several numbers of workers: trainings and time until the mean regret of a serial search with a hundred.
"""

import argparse
import hashlib
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from simulated import Course, Simulated, durations
from tables import Cells, Estimator

from evaluators.data import Dataset, Split
from evaluators.limits import Limits
from evaluators.training.recipe import load_recipe
from nas.budget.device import predictor_of
from nas.budget.estimate import Estimate
from nas.executors.job import Job
from nas.pipeline.job_sources import Proposals
from nas.pipeline.state import State
from nas.pipeline.study import Study
from nas.progress import Silent
from nas.records import Asked
from nas.run.config import Resolved, SearchConfig
from nas.run.folder import Run, create, open_run
from nas.run.journal import MAIN, Journal, open_study, storage_of
from nas.run.memory import read_journal
from nas.run.notes import as_json
from nas.run.storage import Storage
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space_file import load_space, space_text

_EXAMPLE = Path(__file__).parents[1] / "runs" / "example"
_CLASSES = [f"class {i}" for i in range(10)]
_FAILING = 0.01
_SERIAL = 100  # trainings of the serial search that the others are compared with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "files", "workers", "opened"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", default="5000")
    parser.add_argument("--filled", default="0")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--profile", type=Path, default=_EXAMPLE / "device.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=15.0)
    asked = parser.parse_args()
    {"search": search, "files": files, "workers": workers, "opened": opened}[asked.what](asked)


def search(asked: argparse.Namespace) -> None:
    run = made(asked.folder, int(asked.trials), int(asked.workers), asked.profile, asked.seed)
    print(f"{'trials':>8}{'median ms':>11}{'largest':>9}{'reports':>9}{'MiB':>7}")
    for filled in map(int, asked.filled.split(",")):
        fill(run, filled)
        executor = Simulated(int(asked.workers), lambda job: training(job.genotype))
        view = _View(executor, filled)
        state = opened_state(run, executor, view)
        begun = len(state.study.seen.candidates())
        before = time.process_time()
        state.study.prepare(state.estimator.estimate, len(state.study.seen.ended))
        print(f"candidates of the first proposal: {time.process_time() - before:.1f} s", flush=True)
        executor.run(Proposals(state, state.study, begun + int(asked.trials)))
        view.row()
        told = sorted(executor.told)
        print(
            f"{executor.now / 3600:.2f} h on the virtual clock, workers "
            f"waited {executor.idle:.2%} of the time; reports: "
            f"median {1e3 * statistics.median(told):.1f} ms, largest {1e3 * told[-1]:.0f} ms of processor time",
            flush=True,
        )


class _View(Silent):
    """Prints a row after each hundred proposals, of a search that had some trials `before`."""

    def __init__(self, executor: Simulated, before: int = 0) -> None:
        self._executor, self._before, self._shown, self._told = executor, before, 0, 0

    def step(self, line: str = "") -> None:
        if len(self._executor.asked) - self._shown >= 100:
            self.row()

    def row(self) -> None:
        asked = 1e3 * np.array(self._executor.asked[self._shown :])
        told = 1e3 * np.array(self._executor.told[self._told :])
        self._shown, self._told = len(self._executor.asked), len(self._executor.told)
        if len(asked):
            trials, memory = self._before + self._shown, _mib()
            print(f"{trials:>8}{np.median(asked):>11.0f}{asked.max():>9.0f}{told.mean():>9.1f}{memory:>7.0f}", flush=True)


def opened_state(run: Run, executor: Simulated, view: Silent) -> State:
    """A session of a run, as `nas resume` opens it."""
    predictor = predictor_of(run.device_profile, run.space(), run.config.confidence, anywhere=True)
    return State(run, dataset(), predictor, lambda _: executor, view)


def made(folder: Path, trials: int, workers: int, profile: Path, seed: int) -> Run:
    """A new run folder of a search from scratch."""
    config = SearchConfig(
        latency_budget_ms=20.0, space="mobile", data="made up", trials=trials, seed=seed, measure=False, from_scratch=True
    )
    resolved = Resolved(
        space="mobile",
        classes=_CLASSES,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        interpolation="bilinear",
        padding="symmetric",
        donor=None,
        workers=workers,
        recipe=load_recipe("proxy"),
        final_recipe=load_recipe("final"),
    )
    return create(folder, config, resolved, space_text("mobile"), profile)


def fill(run: Run, trials: int) -> None:
    """Add trials of random networks until there are `trials`, with the records of a search; sizes and latencies are made up."""
    storage = storage_of(Journal(run.journal))
    study_id, space = open_study(storage, MAIN, None)._study_id, run.space()
    known = len(storage.get_all_trials(study_id, deepcopy=False))
    rng = random.Random(known)
    with patch("os.fsync"):
        for _ in range(trials - known):
            genes = dict[str, Value]()
            genotype = space.decode(lambda gene, values, genes=genes: genes.setdefault(gene, rng.choice(values)))
            _add(storage, storage.create_new_trial(study_id), {g: (space.genes[g], v) for g, v in genes.items()}, genotype)


def _add(storage: Storage, trial: int, genes: Mapping[str, tuple[Any, Value]], genotype: Genotype) -> None:
    course, ms = training(genotype.text), 2 + 10 * random.Random(genotype.id).random()
    failed = course.fails_in is not None
    for gene, (values, value) in genes.items():
        storage.set_trial_param(trial, gene, values.index(value), CategoricalDistribution(values))
    estimate = Estimate(ms, 1.3 * ms, round(1e6 * (1 + ms)), round(1e8 * ms), likely_ms=ms)
    begun = Asked(origin="search", genotype=genotype.text, **estimate.as_json(), reason="", outcome="running")
    for key, attribute in {**as_json(begun), "seconds": sum(course.seconds)}.items():
        storage.set_trial_user_attr(trial, key, attribute)
    for epoch, accuracy in enumerate(course.accuracies, 1):
        storage.set_trial_intermediate_value(trial, epoch, accuracy)
    storage.set_trial_user_attr(trial, "outcome", "failed" if failed else "trained")
    state, values = (TrialState.FAIL, None) if failed else (TrialState.COMPLETE, [course.accuracies[-1]])
    storage.set_trial_state_values(trial, state, values)


def dataset() -> Dataset:
    """Images that nobody looks at."""
    space, split = load_space("mobile"), Split(np.zeros((10, 3, 8, 8), np.uint8), np.arange(10))
    return Dataset("made up", space.inputs, tuple(_CLASSES), split, split, split, "made up")


def training(text: str) -> Course:
    """Made up from a genotype's text: log-size, an effect of each kind of block, noise; of two epochs the first tells less."""
    genotype, rng = Genotype.parse(text), random.Random(text)
    effects = [_effect(spec.line) for spec in genotype.blocks]
    level = 0.6 + 0.1 * sum(effects) / len(effects) ** 0.5 + 0.005 * rng.gauss(0, 1)
    final = min(max(level, 0.0), 0.99)
    seconds = _drawn(rng)
    fails = rng.randrange(1, 3) if rng.random() < _FAILING else None
    return Course([seconds / 2] * 2, [final * (0.9 + 0.02 * rng.random()), final], fails)


def _effect(line: str) -> float:
    return int(hashlib.sha256(line.encode()).hexdigest()[:8], 16) / 2**32 - 0.5


_drawn = durations([t.seconds for t in read_journal(_EXAMPLE / "journal.log").trials if t.outcome == "trained"], 30.0, 90.0)


def files(asked: argparse.Namespace) -> None:
    """Processor time of what reads a journal, in processes of their own: `resume` up to the first training is split."""
    print(f"{'trials':>8}{'MB':>7}{'check':>7}{'open':>7}{'propose':>9}{'MiB':>7}{'status':>8}{'report':>8}   (seconds)")
    for trials in map(int, asked.trials.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "run"
            shutil.copytree(asked.folder, part)
            size = _cut(part / "journal.log", trials)
            _, said = _processor([sys.executable, __file__, "opened", str(part)])
            status, _ = _processor([sys.executable, "-m", "nas", "status", str(part)])
            report, _ = _processor([sys.executable, "-m", "nas", "report", str(part)])
        checked, ready, proposed, mib = map(float, said.split())
        row = (
            f"{trials:>8}{size / 1e6:>7.1f}{checked:>7.1f}{ready:>7.1f}{proposed:>9.1f}{mib:>7.0f}{status:>8.1f}{report:>8.1f}"
        )
        print(row, flush=True)


def opened(asked: argparse.Namespace) -> None:
    """What `nas resume` does before the first training: check the journal, open the search, propose."""
    begun, run = time.process_time(), open_run(asked.folder)
    read_journal(run.journal)
    checked = time.process_time()
    state = opened_state(run, Simulated(1, lambda job: training(job.genotype)), Silent())
    source, ready = Proposals(state, state.study, 10**6), time.process_time()
    source.next()
    print(checked - begun, ready - checked, time.process_time() - ready, _mib())


def _cut(journal: Path, trials: int) -> int:
    """Leave this many trials in a journal; its size in bytes."""
    lines, created = journal.read_bytes().splitlines(keepends=True), 0
    for place, line in enumerate(lines):
        created += line.startswith(b'{"op_code":4,')
        if created > trials:
            lines = lines[:place]
            break
    journal.write_bytes(b"".join(lines))
    return journal.stat().st_size


def _processor(command: Sequence[str]) -> tuple[float, str]:
    """Seconds of processor time of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def workers(asked: argparse.Namespace) -> None:
    table = Cells(asked.folder, "raspi4")
    seeds = range(asked.seeds)
    print(f"{'workers':>8}{'trainings':>11}{'hours':>8}{'speed-up':>10}{'efficiency':>12}{'waited':>8}")
    goal = serial = 0.0
    for count in map(int, f"1,{asked.workers}".split(",")):
        runs = [_parallel(table, asked.budget, count, seed) for seed in seeds]
        regrets, hours = (np.mean([run[i] for run in runs], axis=0) for i in range(2))
        if count == 1:
            goal, serial = regrets[-1], hours[-1]
        if not (regrets <= goal + 1e-9).any():
            print(f"{count:>8}  not reached in {len(regrets)} trainings: {regrets[-1]:.3f}", flush=True)
            continue
        place = int(np.argmax(regrets <= goal + 1e-9))
        speed = serial / hours[place]
        row = f"{count:>8}{place + 1:>11}{hours[place]:>8.2f}{speed:>10.1f}{speed / count:>12.0%}"
        print(f"{row}{np.mean([run[2] for run in runs]):>8.2%}", flush=True)
    print(f"regret of the serial search with {_SERIAL} trainings: {goal:.3f} points, mean of {len(seeds)} seeds")


def _parallel(table: Cells, budget: float, workers: int, seed: int) -> tuple[list[float], list[float], float]:
    """After each training: regret of the best so far, hours; and the share of time in which workers waited."""
    trials = _SERIAL if workers == 1 else _SERIAL + max(_SERIAL, 3 * workers)
    regrets, hours = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder) / "journal.log", table, Estimator(table), Limits(budget), "surrogate", seed=seed)

        def course(job: Job) -> Course:
            row = table.row(Genotype.parse(job.genotype))
            rng = random.Random(f"{seed} {row}")
            seconds = _drawn(rng)
            return Course([0.06 * seconds, 0.94 * seconds], table.trained(row, rng.randrange(2**31)))  # 12 of 200 epochs

        def ended() -> None:
            assert study.seen.leader
            row = table.row(study.seen.leader.genotype)
            regrets.append(table.best(budget) - float(table.accuracies[row]))
            hours.append(executor.now / 3600)

        executor = Simulated(workers, course)
        recipe = replace(load_recipe("proxy"), epochs=2)
        known = {"config": SimpleNamespace(seed=seed), "resolved": SimpleNamespace(recipe=recipe)}
        state: Any = SimpleNamespace(view=_Ends(ended), keep_time=lambda: None, **known)
        executor.run(Proposals(state, study, trials))
    return regrets, hours, executor.idle


class _Ends(Silent):
    """Calls a function after each training."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def step(self, line: str = "") -> None:
        self._ended()


def _mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
