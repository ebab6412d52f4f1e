"""Storage: Optuna's journal storage for long journals, read in bulk; tells what has changed without reading all trials."""

import copy
from collections.abc import Container, Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.storages import JournalStorage
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult
from optuna.trial import FrozenTrial, TrialState

_PARAMETER, _VALUE, _ATTRIBUTE = (
    int(code)
    for code in (
        JournalOperation.SET_TRIAL_PARAM,
        JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
        JournalOperation.SET_TRIAL_USER_ATTR,
    )
)
_DESCRIBING = frozenset((_PARAMETER, _VALUE, _ATTRIBUTE))


class Storage(JournalStorage):
    """Reads and writes the same records as Optuna's class, with the same trials as a result."""

    def _sync_with_backend(self) -> None:
        if not isinstance(self._replay_result, _Replay):  # the first time, when nothing was read yet
            self._replay_result: _Replay = _Replay(self._worker_id_prefix)
        super()._sync_with_backend()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials. `Study.ask` asks for waiting ones, of which there are none, because none is enqueued."""
        return [] if states == (TrialState.WAITING,) else super().get_all_trials(study_id, deepcopy, states)

    def changed(self, study_id: int, since: int) -> tuple[list[FrozenTrial], int]:
        """Trials of a study that were written after the first `since` changes, in that order, and the changes until now."""
        with self._thread_lock:
            self._sync_with_backend()
            return self._replay_result.changed(study_id, since)


class _Replay(JournalStorageReplayResult):
    """Optuna's replay of a journal, with what consecutive records say of a trial taken at once.

    A trial of a search has dozens of records, most of them parameters. For each, Optuna copies the trial, parses the
    distribution, and looks for an earlier trial that has the parameter. Equal distributions are one object here.
    """

    def __init__(self, worker_id_prefix: str) -> None:
        super().__init__(worker_id_prefix)
        self._changes: list[int] = []
        self._named: dict[tuple[int, str], BaseDistribution] = {}

    def changed(self, study_id: int, since: int) -> tuple[list[FrozenTrial], int]:
        ids = dict.fromkeys(self._changes[since:])
        return [self._trials[i] for i in ids if self._trial_id_to_study_id[i] == study_id], len(self._changes)

    def apply_logs(self, logs: Iterable[dict[str, Any]]) -> None:
        for trial_id, run in groupby(logs, _described):
            if trial_id is not None:
                self._describe(trial_id, list(run))
                continue
            for log in run:
                super().apply_logs([log])
                if log["op_code"] >= JournalOperation.CREATE_TRIAL:
                    self._changes.append(log.get("trial_id", len(self._trials) - 1))

    def _describe(self, trial_id: int, logs: list[dict[str, Any]]) -> None:
        """Apply consecutive records that add to a trial's description."""
        self.log_number_read += len(logs)
        if not self._trial_exists_and_updatable(trial_id, logs[0]):
            return
        trial = copy.copy(self._trials[trial_id])
        trial.user_attrs, trial.intermediate_values = dict(trial.user_attrs), dict(trial.intermediate_values)
        trial.params, trial.distributions = dict(trial.params), dict(trial.distributions)
        for log in logs:
            if log["op_code"] == _ATTRIBUTE:
                trial.user_attrs.update(log["user_attr"])
            elif log["op_code"] == _VALUE:
                trial.intermediate_values[log["step"]] = log["intermediate_value"]
            else:
                name, distribution = log["param_name"], self._distribution(trial_id, log)
                trial.distributions[name] = distribution
                trial.params[name] = distribution.to_external_repr(log["param_value_internal"])
        self._trials[trial_id] = trial
        self._changes.append(trial_id)

    def _distribution(self, trial_id: int, log: dict[str, Any]) -> BaseDistribution:
        distribution = _parsed(log["distribution"])
        known = self._named.setdefault((self._trial_id_to_study_id[trial_id], log["param_name"]), distribution)
        if known is not distribution:
            check_distribution_compatibility(known, distribution)
        return distribution


def _described(log: dict[str, Any]) -> int | None:
    """The trial that a record adds to the description of; None for other records."""
    return log["trial_id"] if log["op_code"] in _DESCRIBING else None


@lru_cache(maxsize=4096)
def _parsed(distribution: str) -> BaseDistribution:
    return json_to_distribution(distribution)
