"""Memory: everything in a run's journal, read at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from nas.run.journal import MAIN, Journal, storage_of, understood
from nas.run.notes import N, Notes, check_note, check_trial
from nas.run.trials import Proposal, proposals
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Memory:
    """Contents of a journal: all completely written proposals in order, and notes by key, as JSON."""

    trials: list[Proposal]
    facts: dict[str, dict[str, Any]]

    def records(self, kind: type[N]) -> dict[str, N]:
        """Notes of a kind, by ID."""
        return Notes(self.facts).of(kind)


def read_journal(path: Path, name: str = MAIN, *, genes: bool = False) -> Memory:
    """Read a study of a journal; empty if it does not exist, except for the main study.

    Without `genes` proposals have none, which is faster: they are most of a journal. Read-only, and safe while a search writes.
    Raises InputError if the journal is damaged or cannot be parsed.
    """
    storage = storage_of(Journal(path, writable=False, genes=genes))
    return understood(path, lambda: _memory(storage, name))


def _memory(storage: optuna.storages.JournalStorage, name: str) -> Memory:
    names = [study.study_name for study in storage.get_all_studies()]
    if MAIN not in names:
        raise InputError("it does not contain a search")
    if name not in names:
        return Memory([], {})
    study = optuna.load_study(study_name=name, storage=storage)
    for trial in study.get_trials(deepcopy=False):
        if "outcome" in trial.user_attrs:
            check_trial(trial.number, trial.user_attrs, trial.intermediate_values)
    for key, value in study.user_attrs.items():
        check_note(key, value)
    return Memory(proposals(study), study.user_attrs)


def counts(trials: Iterable[Proposal]) -> dict[str, int]:
    """Number of proposals by outcome; anchors are counted separately."""
    trials = list(trials)
    asked = [t for t in trials if t.anchor is None]
    found = {word: sum(t.outcome == word for t in asked) for word in ("rejected", "repeated", "screened", "failed")}
    stopped = sum(t.outcome == "stopped" for t in asked)
    return {
        "asked": len(asked),
        **found,
        "trained": stopped + sum(t.outcome == "trained" for t in asked),
        "stopped_early": stopped,
        "anchors_trained": sum(t.anchor is not None and t.outcome in ("trained", "stopped") for t in trials),
    }
