"""What the tables of report.html show."""

import shlex
from collections import Counter
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nas.pipeline.stages.blocks import Blocks
from nas.run.config import SearchConfig
from nas.run.folder import Run, open_run
from nas.run.memory import Memory
from nas.run.options import Described, described, value_text
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_REASONS = {"screened": "its linear probe was below others'", "stopped": "its accuracy was below others' at that epoch"}


class BlockRow(NamedTuple):
    """A block of the winner: its text, output shape, params, MACs, milliseconds predicted and measured, under typical load."""

    text: str
    shape: str
    params: int
    macs: int
    ms: float | None
    measured_ms: float | None


class ClassRow(NamedTuple):
    """A class of the test set: precision and recall (None without predictions or images), and its number of images."""

    name: str
    precision: float | None
    recall: float | None
    support: int


def rows_of_blocks(run: Run, best: dict[str, Any], memory: Memory) -> list[BlockRow]:
    """The winner block by block; without predicted milliseconds where the run's device profile does not cover it."""
    from evaluators.cost import block_costs

    genotype = Genotype.parse(best["genotype"])
    task = genotype.task(len(run.resolved.classes))
    predicted = _predicted_ms(run.path.resolve(), genotype, task) or (None,) * len(genotype.blocks)
    known = memory.records(Blocks).get(best["id"])
    measured = known.ms if known else (None,) * len(genotype.blocks)
    return [
        BlockRow(b.spec.text, "×".join(map(str, b.out_shape)), b.cost.params, b.cost.macs, *ms)
        for b, *ms in zip(block_costs(genotype, task), predicted, measured, strict=True)
    ]


@lru_cache(maxsize=1)
def _predicted_ms(path: Path, genotype: Genotype, task: Task) -> tuple[float, ...]:
    """Predicted milliseconds of each block, empty if the device profile of the run does not cover the network.

    Cached, as fitting the predictor takes seconds and `nas watch` asks for the same winner again and again.
    """
    from nas.budget.device import predictor_of

    run = open_run(path)
    try:
        predictor = predictor_of(run.device_profile, run.space(), run.config.confidence, anywhere=True)
        found: tuple[float, ...] = predictor.usual_block_ms(genotype, task)
    except InputError:
        return ()
    return found


def by_class(confusion: list[list[int]], classes: list[str]) -> list[ClassRow]:
    """Precision and recall of each class, by a confusion matrix (rows: true classes); empty if it was not recorded."""
    found = []
    for label, row in enumerate(confusion):
        right, support, taken = row[label], sum(row), sum(other[label] for other in confusion)
        found.append(ClassRow(classes[label], right / taken if taken else None, right / support if support else None, support))
    return found


def reasons_of(memory: Memory) -> list[tuple[str, str, int]]:
    """(outcome, reason, number) of the candidates that were not trained to the end, most frequent first."""
    ended = [t for t in memory.trials if t.anchor is None and t.outcome not in ("trained", "running")]
    known = Counter((t.outcome, t.reason.partition(";")[0] or _REASONS.get(t.outcome, "")) for t in ended)
    return [(outcome, reason, count) for (outcome, reason), count in known.most_common(30)]


def command_of(run: Run) -> str:
    """The command that repeats the search."""
    asked, words = asdict(run.config), ["nas", "search"]
    for one in described(SearchConfig):
        value = asked[one.name]
        if isinstance(value, tuple | list):
            value = tuple(value)
        if value != one.default and value is not None:
            words += _words(one, value)
    return shlex.join(words)


def _words(one: Described, value: Any) -> list[str]:
    if one.kind is bool:
        return [one.flag if value else one.flag.replace("--", "--no-", 1)]
    if one.several and not one.option.commas:
        return [word for v in value for word in (one.flag, str(v))]
    return [one.flag, value_text(one, value)]
