"""Optuna Dashboard opens a run's journal, finished or not, and shows what the journal says; its edits are refused in words."""

import io
import json
from wsgiref.util import setup_testing_defaults

import pytest
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import load
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.run.memory import read_journal
from search_spaces.errors import InputError

STATES = {"trained": "Complete", "running": "Running", "screened": "Pruned", "stopped": "Pruned", "rejected": "Fail"}


@pytest.fixture
def dashboard():
    """Asks Optuna Dashboard about a journal: (journal, path, method, body) to the answer."""
    optuna_dashboard = pytest.importorskip("optuna_dashboard")

    def ask(journal, path, method="GET", body=None):
        sent = json.dumps(body).encode()
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "CONTENT_TYPE": "application/json"}
        environ |= {"wsgi.input": io.BytesIO(sent), "CONTENT_LENGTH": str(len(sent))}
        setup_testing_defaults(environ)
        answer = b"".join(optuna_dashboard.wsgi(str(journal))(environ, lambda *_: None))
        return json.loads(answer) if answer else None

    return ask


def _state(made_run, executor):
    run = made_run(trials=4, sampler="random")
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    return run, State(run, dataset, Predictor(), executor, View(), timer=Timer(lambda _: 5.0))


class Interrupted(Executor):
    """Is stopped in the second training."""

    def progress(self, job, epoch):
        self.first = getattr(self, "first", job.id)
        if job.id != self.first:
            raise KeyboardInterrupt
        return super().progress(job, epoch)


@pytest.mark.parametrize("executor", [Executor, Interrupted])
def test_it_shows_the_trials_as_the_journal_has_them(made_run, dashboard, executor):
    run, state = _state(made_run, executor)
    if executor is Interrupted:
        with pytest.raises(KeyboardInterrupt):
            Search(state).run()
    else:
        Search(state).run()
    [study] = dashboard(run.journal, "/api/studies")["study_summaries"]
    found = dashboard(run.journal, f"/api/studies/{study['study_id']}")
    assert study["study_name"] == "nas" and study["directions"] == ["maximize"]
    assert found["objective_names"] == ["accuracy"]
    trials = read_journal(run.journal, genes=True).trials
    assert len(found["trials"]) == len(trials) and len(trials) > 1
    for shown, trial in zip(found["trials"], trials, strict=True):
        assert shown["number"] == trial.number and shown["state"] == STATES[trial.outcome]
        values = {"Complete": [[*trial.rungs[-1:]]], "Pruned": [[], [*trial.rungs[-1:]]]}
        assert shown.get("values", []) in values.get(shown["state"], [[]])
        assert {one["name"]: one["param_external_value"] for one in shown["params"]} == {
            name: str(value) for name, value in trial.genes.items()
        }
        assert [one["value"] for one in shown["intermediate_values"]] == list(trial.rungs)
        attributes = {one["key"]: one["value"] for one in shown["user_attrs"]}
        assert (attributes["outcome"], attributes["origin"]) == (trial.outcome, trial.origin)
    assert any(trial.outcome == "running" for trial in trials) == (executor is Interrupted)


def test_what_it_writes_is_found_with_how_to_undo_it(made_run, dashboard):
    journal = made_run().journal
    before, lines = journal.read_bytes(), len(journal.read_bytes().splitlines())
    dashboard(journal, "/api/studies/0/note", "PUT", {"body": "mine", "version": 1})
    assert journal.read_bytes().startswith(before) and len(journal.read_bytes()) > len(before)
    with pytest.raises(InputError, match=f"line {lines + 1}: damaged: the record has no checksum.*Optuna Dashboard.*remove"):
        read_journal(journal)
    journal.write_bytes(before)
    assert read_journal(journal).trials == []
