"""Which sampler finds the best network in a budget with the fewest trainings, on published tables, through the product's study.

usage: python benchmarks/search.py TABLES [--table macro|cells|mnas] [--budgets B,...] [--samplers S,...] [--trainings T,...]
                                          [--seeds N] [--error E] [--jobs J]

TABLES is a folder with nas_bench_macro.npz, nas_bench_201.npz, or anb_dataset_jsons.tar.gz for `mnas`. Each (budget, sampler,
seed) is a study on disk as a run keeps it: what the sampler asks passes the gate, repeats are answered from memory, only
feasible new networks count as trainings. As in a run, the best three are trained once more and the mean of both decides: a
search of T trainings has spent three of them on that. Regret is the best accuracy within the budget minus that of the network
so chosen, both as the table's mean, in points. Seeds are paired over samplers. With --error predictions are off: networks that
likely hold the budget although their upper bound does not are timed untrained, and networks are measured in the end: from the
best on, those that truly hold the budget are trained again.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # searches run beside each other

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from mnas_table import Mnas
from tables import Cells, Estimator, Macro, Table

from evaluators.limits import Limits
from nas.pipeline.study import Study

_BUDGETS = {"macro": (35.0, 43.1, 50.0, 75.0), "cells": (8.0, 15.0), "mnas": (3.5, 5.0)}
_DEVICE = "raspi4"
_FINALISTS = 3


@dataclass(frozen=True)
class Task:
    """One search: everything it depends on."""

    folder: Path
    table: str
    budget: float
    sampler: str
    seed: int
    trainings: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Outcome:
    """The table's accuracy of the network chosen after each of the task's numbers of trainings, whether one of them is over the
    budget, how many were timed untrained in all, and seconds a proposal took on average.
    """

    task: Task
    chosen: tuple[float, ...]
    over: bool
    timed: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--table", choices=list(_BUDGETS), default="macro")
    parser.add_argument("--budgets", type=_numbers)
    parser.add_argument("--samplers", default="surrogate,tpe,nsga2,evolution,random")
    parser.add_argument("--trainings", type=_numbers, default=(20, 50, 100, 200))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--error", type=float, default=0.0)
    parser.add_argument("--jobs", type=int, default=2)
    flags = parser.parse_args()
    counts = [int(t) for t in flags.trainings]
    budgets, samplers = flags.budgets or _BUDGETS[flags.table], flags.samplers.split(",")
    tasks = [
        Task(flags.tables, flags.table, b, s, seed, tuple(counts), flags.error)
        for b in budgets
        for s in samplers
        for seed in range(flags.seeds)
    ]
    with ProcessPoolExecutor(flags.jobs) as pool:
        outcomes = list(pool.map(searched, tasks, chunksize=1))
    table = _table(flags.tables, flags.table)
    for budget in budgets:
        best = table.best(budget)
        print(f"\n{flags.table}, budget {budget:g} (best {best:.2f}), {flags.seeds} seeds: regret ± standard error")
        print(f"{'':<12}" + "".join(f"{f'@{t}':>15}" for t in counts) + f"{'over':>7}{'timed':>7}{'ms/ask':>8}")
        for sampler in samplers:
            found = [o for o in outcomes if (o.task.budget, o.task.sampler) == (budget, sampler)]
            print(f"{sampler:<12}" + "".join(_cell(found, best, t) for t in counts) + _tail(found))


def searched(task: Task) -> Outcome:
    """Carries one search out."""
    table = _table(task.folder, task.table)
    asking = 0.0
    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(table, task.error, seed=task.seed)
        settings = (Path(folder) / "journal.log", table, estimator, Limits(task.budget), task.sampler)
        study = Study(*settings, seed=task.seed, timed=estimator.timed)
        found: list[tuple[int, float]] = []
        while len(found) < max(task.trainings) - _FINALISTS:
            start = perf_counter()
            proposal = study.ask()
            asking += perf_counter() - start
            if proposal is None:
                break
            row = table.row(proposal.genotype)
            rungs = table.trained(row, _seed(task, row))
            for epoch, accuracy in enumerate(rungs, 1):
                if study.report(proposal.number, epoch, accuracy, 0.0):
                    break
            ended = study.complete(proposal.number, len(rungs))
            found.append((row, ended.accuracy if ended.outcome == "trained" else -1.0))
    rows = [_choose(found[: trainings - _FINALISTS], table, task) for trainings in task.trainings]
    over = any(table.costs[row] > task.budget for row in rows)
    chosen = tuple(float(table.accuracies[row]) for row in rows)
    timed = sum(trial.estimate.timed_ms is not None for trial in study.trials())
    return Outcome(task, chosen, over, timed, asking / len(found))


def _choose(found: Sequence[tuple[int, float]], table: Table, task: Task) -> int:
    """The row with the best mean of two trainings among the best three that truly hold the budget."""
    ranked = [row for row, _ in sorted(found, key=lambda f: -f[1])]
    held = [row for row in ranked if table.costs[row] <= task.budget] or ranked
    accuracies = dict(found)

    def mean(row: int) -> float:
        return accuracies[row] + table.trained(row, _seed(task, row) + 1)[-1]

    return max(held[:_FINALISTS], key=mean)


def _seed(task: Task, row: int) -> int:
    return random.Random(f"{task.seed} {row}").randrange(2**31)


def _cell(found: Sequence[Outcome], best: float, trainings: int) -> str:
    regrets = np.array([best - o.chosen[o.task.trainings.index(trainings)] for o in found])
    error = regrets.std(ddof=1) / np.sqrt(len(regrets)) if len(regrets) > 1 else np.nan
    return f"{regrets.mean():>8.3f} ±{error:.3f}"


def _tail(found: Sequence[Outcome]) -> str:
    timed = np.mean([o.timed for o in found])
    return f"{sum(o.over for o in found):>7}{timed:>7.1f}{1e3 * np.mean([o.seconds for o in found]):>8.0f}"


@lru_cache
def _table(folder: Path, name: str) -> Table:
    if name == "mnas":
        return Mnas(folder)
    return Macro(folder) if name == "macro" else Cells(folder, _DEVICE)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


if __name__ == "__main__":
    main()
