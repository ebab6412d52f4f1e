"""Importance of genes: how much each mattered to the accuracy of a search's candidates."""

import warnings
from pathlib import Path

import optuna

from nas.run.journal import MAIN, Journal, storage_of

_FEWEST = 20  # trained candidates below which it says nothing


def gene_importances(journal: Path) -> tuple[dict[str, float], int] | None:
    """The importance of each gene, largest first, by Optuna's PED-ANOVA (arXiv:2304.10255), and the number of candidates.

    None with few candidates or two objectives. Genes that some candidates lack are left out.
    """
    study = optuna.load_study(study_name=MAIN, storage=storage_of(Journal(journal, writable=False)))
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    done = [trial for trial in complete if trial.params]  # hand-designed networks outside the space have no genes
    if len(done) < _FEWEST or len(study.directions) > 1:
        return None
    shared = set.intersection(*(set(trial.params) for trial in done))
    if not shared:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is less certain for values that few candidates have
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=sorted(shared))
    return dict(found), len(done)
