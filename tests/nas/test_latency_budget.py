"""The latency budget, with made-up measurements: the corrected bound, sessions, further search, no measuring."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_up_search import Executor, Predictor, Timer, View, measurement, timed
from rich.console import Console

from evaluators.data import Dataset, Split
from evaluators.limits import Limits
from nas.budget.estimate import Estimate, uncovered
from nas.budget.latency_budget import CHECK_EVERY, PAUSE_S, REPEATS, SESSIONS, SPARE, LatencyBudget, growth
from nas.budget.survey import lines, survey
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.pipeline.study import TIMED_IN_VAIN
from nas.records import Checked, Measured, Timing
from nas.report import table
from nas.report.result import result
from nas.run.config import SearchConfig
from nas.run.folder import open_run
from nas.run.memory import read_journal
from nas.sessions import search as session
from search_spaces.errors import InputError
from search_spaces.space_file import load_space

BUDGET = 10.0
EXAMPLE = Path(__file__).parents[2] / "runs" / "example"


class Assigned:
    """The first `few` networks that it meets have a bound of `first` ms, all others of `later`."""

    def __init__(self, few, first, later):
        self.few, self.first, self.later, self.bounds = few, first, later, {}

    def predict(self, genotype, task):
        bound_ms = self.bounds.setdefault(genotype.id, self.first if len(self.bounds) < self.few else self.later)
        return SimpleNamespace(ms=bound_ms / 1.2, bound_ms=bound_ms, extrapolated=0.0)

    def covered(self, genotypes, task):
        return [self.predict(g, task) for g in genotypes]


@pytest.fixture
def search(made_run):
    """Makes a search of made-up parts on a fresh run folder; returns (Search, run, view)."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, 16, 16)).astype(np.uint8), np.arange(8) % 2)
    dataset = Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")

    def make(meter, predictor=None, run=None, **settings):
        usual = {
            "latency_budget_ms": BUDGET,
            "data": "made",
            "classes": ["a", "b"],
            "trials": 6,
            "finalists": 2,
            "sampler": "random",
        }
        run, view = run or made_run(**usual | settings), View()
        return Search(State(run, dataset, predictor or Predictor(), Executor, view, timer=meter)), run, view

    return make


@pytest.fixture
def searched(search):
    """Carries a search out; returns (result, lines shown, run)."""

    def go(meter, predictor=None, **settings):
        found, run, view = search(meter, predictor, **settings)
        found.run()
        return result(run), "\n".join(view.lines), run

    return go


def _asked(run):
    return [(t.genotype.text, t.outcome) for t in read_journal(run.journal).trials]


# --- the correction of the bound ---


def test_the_bound_stays_as_it_is_until_it_was_too_low():
    assert growth([], 0.95) == growth([0.7, 1.0, 0.99], 0.95) == 1.0


def test_few_checks_take_the_largest_ratio_and_many_the_conformal_rank():
    assert growth([0.8, 1.2, 1.05], 0.95) == 1.2
    scores = [1 + i / 1000 for i in range(1, 40)]
    assert growth(scores, 0.95) == scores[37]  # ceil(40 x 0.95) = 38th of 39
    assert growth(scores, 0.5) == scores[19]


def test_every_fourth_accepted_candidate_is_checked_untrained(searched):
    meter = Timer(lambda _: 5.0)
    found, _, run = searched(meter)
    accepted = [t.genotype.id for t in read_journal(run.journal).trials if t.anchor is None and t.outcome != "repeated"]
    assert meter.checked == accepted[::CHECK_EVERY] and len(meter.checked) == 2
    kept = read_journal(run.journal).records(Checked)
    assert list(kept) == meter.checked
    for note in kept.values():
        assert (note.predicted_ms, note.bound_ms, note.robust_ms) == (5.0, 6.0, 5.0)
        assert note.score == pytest.approx(5 / 6)
    assert found["bound"]["checked"] == 2 and found["bound"]["over_their_bound"] == 0


def test_a_checked_candidate_above_its_bound_widens_the_gate_for_what_is_asked_later(searched):
    found, lines, run = searched(Timer(lambda _: 5.0, lambda _: 9.0), Predictor(ms=5.0, bound_ms=6.0))
    asked = [t for t in read_journal(run.journal).trials if t.anchor is None]
    assert asked[0].estimate.bound_ms == 6.0
    assert {t.estimate.bound_ms for t in asked[1:]} == {9.0}
    assert found["bound"]["over_their_bound"] == 2 and "scaled by 1.500" in lines


def test_what_the_corrected_bound_puts_over_the_budget_is_rejected(searched):
    meter = Timer(lambda _: 5.0, lambda name: 1.5 * predictor.bounds[name])
    predictor = Assigned(5, 6.0, 8.0)
    _, _, run = searched(meter, predictor, trials=3)
    asked = [t for t in read_journal(run.journal).trials if t.anchor is None]
    assert {t.outcome for t in asked if predictor.bounds[t.genotype.id] == 6.0} <= {"trained", "stopped", "repeated"}
    assert all(t.outcome == "rejected" for t in asked if t.estimate.bound_ms == 12.0)


def test_the_gate_asks_of_the_bound_what_the_promise_asks_of_a_session(searched):
    predictor = Assigned(2, 8.0, 8.5)  # under typical load 9.3 and 9.8, of 9.7 allowed
    meter = Timer(lambda _: 5.0, lambda name: predictor.bounds[name] - 0.1)
    meter.usual = 0.2
    _, _, run = searched(meter, predictor, trials=3)
    asked = [t for t in read_journal(run.journal).trials if t.anchor is None]
    assert all(t.estimate.bound_ms == pytest.approx(1.2**0.8 * predictor.bounds[t.genotype.id]) for t in asked)
    assert {t.outcome == "rejected" for t in asked if predictor.bounds[t.genotype.id] == 8.0} == {False}
    assert {t.outcome for t in asked if predictor.bounds[t.genotype.id] == 8.5} == {"rejected"}


def test_noise_of_checks_within_the_bound_does_not_change_what_is_asked(searched):
    asked = []
    for check_ms in (4.0, 5.9):
        _, _, run = searched(Timer(lambda _: 5.0, lambda _, ms=check_ms: ms))
        asked.append(_asked(run))
        shutil.rmtree(run.path)
    assert asked[0] == asked[1]


def test_a_resumed_search_has_the_corrected_bound_and_changes_nothing_that_is_kept(search):
    begun, run, _ = search(Timer(lambda _: 5.0, lambda _: 9.0))
    begun.run()
    before, kept = _asked(run), read_journal(run.journal).facts
    again, _, _ = search(Timer(lambda _: 5.0), run=run)
    genotype = read_journal(run.journal).trials[0].genotype
    assert again.state.estimate(genotype) == begun.state.estimate(genotype) and begun.state.estimate(genotype).bound_ms == 9.0
    again.run()
    assert _asked(run) == before and read_journal(run.journal).facts == kept


# --- timing who is in doubt ---


class Spread:
    """Bounds are evenly spread from 9 to 15 ms in the order in which networks are met, predictions a fifth lower."""

    def __init__(self):
        self.bounds = {}

    def predict(self, genotype, task):
        bound_ms = self.bounds.setdefault(genotype.id, 9.0 + len(self.bounds) % 7)
        return SimpleNamespace(ms=0.8 * bound_ms, bound_ms=bound_ms, extrapolated=0.0)

    def covered(self, genotypes, task):
        return [self.predict(g, task) for g in genotypes]


def _outcomes(run):
    trials = [t for t in read_journal(run.journal).trials if t.anchor is None and t.outcome != "repeated"]
    return [(t, "rejected" if t.outcome == "rejected" else "trained") for t in trials]


def test_who_likely_holds_the_budget_is_timed_and_its_time_decides(searched):
    predictor = Spread()
    times = {9: 7.2, 10: 8.0, 11: 9.6, 12: 9.2}  # and 1.6 % for the error of measuring; 9.7 are allowed
    meter = Timer(lambda _: 5.0, lambda name: times[predictor.bounds[name]])
    found, lines, run = searched(meter, predictor, trials=8)
    seen = {bound: set() for bound in range(9, 16)}
    for trial, outcome in _outcomes(run):
        seen[predictor.bounds[trial.genotype.id]].add(outcome)
        in_doubt = predictor.bounds[trial.genotype.id] in (10, 11, 12)
        assert in_doubt == (trial.estimate.timed_ms is not None) or predictor.bounds[trial.genotype.id] == 9
        assert (trial.reason == "over the budget when measured") == (trial.outcome == "rejected" and in_doubt)
    assert seen[9] <= {"trained"} and seen[10] | seen[12] == {"trained"}
    assert seen[11] | seen[14] | seen[15] == {"rejected"}
    assert len(meter.checked) == len(set(meter.checked)) == found["bound"]["checked"]
    refused = {t.genotype.id for t, _ in _outcomes(run) if t.reason == "over the budget when measured"}
    assert refused and found["bound"]["over_the_budget"] == len(refused)
    assert {i for i in meter.checked if f"{i:<24} measured:" in lines} == set(meter.checked) - {
        a["id"] for a in found["anchors"]
    }
    assert f"{found['bound']['over_the_budget']} were over the budget and not trained" in _shown(found)
    assert "over the budget" in lines


def _shown(found):
    console = Console(record=True, width=400, file=open("/dev/null", "w"))  # noqa: SIM115
    table.show(console, found)
    return console.export_text()


def test_after_many_were_timed_in_vain_the_bound_decides_alone(searched):
    class Hidden(Spread):
        """One of fifty networks passes by its bound, all others are in doubt."""

        def predict(self, genotype, task):
            bound_ms = self.bounds.setdefault(genotype.id, 9.0 if len(self.bounds) % 50 == 49 else 11.0)
            return SimpleNamespace(ms=0.8 * bound_ms, bound_ms=bound_ms, extrapolated=0.0)

    predictor = Hidden()
    meter = Timer(lambda _: 5.0, lambda name: 0.8 * predictor.bounds[name] if predictor.bounds[name] < 10 else 9.7)
    _, _, run = searched(meter, predictor, trials=2, anchors=[])
    outcomes = _outcomes(run)
    assert [t.estimate.bound_ms for t, outcome in outcomes if outcome == "trained"] == [9.0, 9.0]
    assert TIMED_IN_VAIN < len(meter.checked) <= 2 * TIMED_IN_VAIN + 2 < len(outcomes)


def test_nobody_is_timed_where_nothing_is_measured(searched):
    meter = Timer(lambda _: 5.0, lambda _: 1.0)
    _, _, run = searched(meter, Assigned(3, 9.0, 11.0), trials=2, measure=False)
    assert not meter.checked and {t.estimate.bound_ms for t, o in _outcomes(run) if o == "trained"} == {9.0}


def test_a_resumed_search_knows_what_was_timed(search):
    begun, run, _ = search(Timer(lambda _: 5.0, lambda _: 9.0), Spread())
    begun.run()
    meter = Timer(lambda _: 5.0, lambda _: 1.0)
    again, _, _ = search(meter, Spread(), run=run)
    for genotype in [t.genotype for t, _ in _outcomes(run)]:
        assert again.state.estimate(genotype).timed_ms == begun.state.estimate(genotype).timed_ms
    again.run()
    assert not meter.checked


def test_predictions_are_told_at_the_usual_speed_and_it_is_counted_once(searched):
    """Networks take what was predicted of them: nothing is corrected, and each figure is that of typical load."""
    slower, meter = 1.2**0.8, Timer(lambda _: 5.0, lambda _: 4.0)
    meter.usual = 0.2
    found, lines, run = searched(meter, Predictor(ms=4.0, bound_ms=4.4), trials=4)
    for estimate in [t.estimate for t, _ in _outcomes(run)]:
        assert estimate.predicted_ms == estimate.likely_ms == pytest.approx(4 * slower, rel=1e-5)
        assert estimate.bound_ms == pytest.approx(4.4 * slower, rel=1e-5)
    for entry in (found["best"], *found["finalists"], *found["anchors"]):
        assert (entry["predicted_ms"], entry["bound_ms"]) == pytest.approx((4 * slower, 4.4 * slower), rel=1e-5)
    for note in read_journal(run.journal).records(Checked).values():
        assert note.score == pytest.approx(4 / 4.4) and note.robust_ms == 4.0
    assert f"{4 * slower:.2f} ms predicted, bound {4.4 * slower:.2f} ms" in lines


def test_predictions_that_are_too_low_in_the_median_leave_fewer_in_doubt(searched):
    meter = Timer(lambda _: 5.0, lambda name: 1.25 * 0.8 * predictor.bounds[name])
    predictor = Spread()
    _, _, run = searched(meter, predictor, trials=8)
    off = [round(t.estimate.likely_ms / t.estimate.predicted_ms, 2) for t, _ in _outcomes(run)]
    assert off[0] == 1.0 and off[-1] == 1.25 and off == sorted(off)
    late = [t for (t, _), off in zip(_outcomes(run), off, strict=True) if off == 1.25]
    assert {predictor.bounds[t.genotype.id] for t in late} == {9.0}  # before, those of 10, 11 and 12 were timed, too
    assert all(t.estimate.timed_ms is None for t in late[1:])


def test_times_are_corrected_by_what_the_networks_took_in_the_end(search):
    made, run, _ = search(Timer(lambda _: 9.9, lambda _: 9.0), Assigned(0, 0.0, 11.0), trials=2)
    made.run()
    timed = [t for t, _ in _outcomes(run) if t.estimate.timed_ms is not None]
    assert timed[0].estimate.timed_ms == pytest.approx(9.0 * (1 + 0.01 * 1.645), rel=1e-4)
    assert {t.outcome for t, _ in _outcomes(run)[2:]} == {"rejected"}
    assert made.state.estimate(timed[0].genotype).timed_ms == pytest.approx(9.9)


# --- sessions of measuring ---


QUIET, OVER = measurement(9.0), measurement(11.0)
BUSY_OVER = measurement(12.0, robust_ms=9.0, contention=0.4)


@pytest.mark.parametrize(
    ("sessions", "undecided", "held"),
    [
        ([QUIET], True, False),
        ([QUIET, QUIET], False, True),
        ([QUIET, OVER], False, False),
        ([OVER], False, False),
        ([QUIET, BUSY_OVER], True, False),
        ([QUIET, BUSY_OVER, QUIET], False, True),
        ([QUIET, BUSY_OVER, BUSY_OVER, QUIET], True, False),
        ([QUIET, BUSY_OVER, BUSY_OVER, QUIET, QUIET], False, True),
        ([QUIET, BUSY_OVER] * 3, True, False),
        ([QUIET, BUSY_OVER] * 3 + [BUSY_OVER], False, False),
        ([BUSY_OVER] * 3, True, False),
        ([BUSY_OVER] * 4, False, False),
        ([measurement((1 - SPARE["float32"]) * BUDGET)] * 2, False, True),
        ([QUIET, measurement((1 - SPARE["float32"] / 2) * BUDGET)], False, False),
        ([measurement(12.0, robust_ms=10.5, contention=0.4)], True, False),
        ([measurement(12.0, robust_ms=11.5, contention=0.4)], False, False),
    ],
    ids=[
        *("one", "two", "one over", "over", "busy", "busy, then quiet", "as often as not", "more often than not"),
        *(
            "as often",
            "less often",
            "always busy",
            "given up",
            "just enough to spare",
            "too little to spare",
            "nearly",
            "clearly over",
        ),
    ],
)
def test_when_a_network_holds_the_budget(sessions, undecided, held):
    promise, sessions = LatencyBudget(BUDGET), timed(*sessions)
    assert promise.undecided(sessions, 2) == undecided
    assert promise.record(sessions, 2).held == held


def test_a_machine_quieter_than_usual_counts_as_the_usual_one():
    promise = LatencyBudget(BUDGET, usual=0.2)
    for ms, contention, held in ((9.0, 0.0, False), (9.0, 0.2, True), (9.2, 0.1, False), (8.0, 0.0, True), (9.0, 0.5, True)):
        sessions = timed(*[measurement(ms, contention=contention)] * 2)
        assert promise.record(sessions, 2).held == held
        assert promise.record(sessions, 2).p50_ms == ms


@pytest.mark.parametrize(("usual", "held"), [(0.0, True), (0.2, False)])
def test_a_search_asks_its_meter_how_busy_the_machine_usually_is(searched, usual, held):
    meter = Timer(lambda _: 9.0)
    meter.usual = usual
    found, _, _ = searched(meter, trials=2)
    assert (found["best"] is not None) == held


@pytest.mark.parametrize(("precision", "held"), [("float32", True), ("int8", False)])
def test_networks_in_int8_leave_a_wider_margin(precision, held):
    config = SearchConfig(latency_budget_ms=BUDGET)
    promise = config.latency_budget(precision)
    assert promise.record(timed(*[measurement(0.95 * BUDGET)] * 2), 2).held == held
    assert promise.allowed_ms == config.limits(precision).latency_ms == pytest.approx((1 - SPARE[precision]) * BUDGET)


def test_the_record_has_the_worst_session_the_spread_and_what_was_set_aside():
    record = LatencyBudget(BUDGET).record(timed(measurement(9.0), BUSY_OVER, measurement(9.5, 10.5)), 2)
    assert (record.p50_ms, record.p90_ms, record.n) == (9.5, 10.5, 100)
    assert record.between == pytest.approx(9.5 / 9 - 1) and record.spread == 0.01
    assert record.sessions == 3 and record.set_aside == 1 and record.contention == 0.0


def test_what_is_exported_was_measured_twice_and_every_session_is_kept(searched):
    found, _, run = searched(Timer(lambda _: 5.0))
    timings = read_journal(run.journal).records(Timing)
    for entry in [*found["finalists"], *found["anchors"]]:
        assert entry["sessions"] == 2 and entry["n"] == 100
        assert [k for k in timings if k.startswith(f"{entry['id']}/retrained")] == [
            f"{entry['id']}/retrained/1",
            f"{entry['id']}/retrained/2",
        ]


def test_a_busy_moment_is_waited_for_and_set_aside(searched):
    met: dict[str, int] = {}

    def session_ms(name):
        met[name] = met.get(name, 0) + 1
        return BUSY_OVER if met[name] == 2 else QUIET

    meter = Timer(session_ms)
    found, _, run = searched(meter)
    assert meter.rests == [PAUSE_S]  # the anchor's second session was the busy one, the finalists' third a quiet one
    assert found["best"]["set_aside"] == 1 and found["best"]["p50_ms"] == 9.0
    assert not found["over_budget_when_measured"] and found["busy"] is None
    assert any(t.contention == 0.4 for t in read_journal(run.journal).records(Timing).values())


def test_a_busy_session_screens_by_the_time_as_of_a_quiet_machine_at_the_usual_speed():
    promise = LatencyBudget(BUDGET, usual=0.05)
    for timing, held in ((BUSY_OVER, True), (measurement(12.0, robust_ms=9.5, contention=0.4), False), (OVER, False)):
        record = promise.screening(*timed(timing), promise.above_quiet([]))
        assert record.held == held and record.p50_ms == timing.p50_ms
    assert promise.screening(*timed(BUSY_OVER), 1.05).holds_ms == pytest.approx(9.0 * 1.05 / (1 - SPARE["float32"]))


def test_a_machine_that_stays_busy_is_said_and_nothing_is_promised(searched):
    meter = Timer(lambda _: BUSY_OVER)
    found, lines, _ = searched(meter, trials=2)
    assert len(meter.rests) > 1 and set(meter.rests) == {PAUSE_S} and f"waiting {PAUSE_S:.0f} s before measuring again" in lines
    assert "measured  12.00 ms, p90  12.00 ms, 9.00 ms under typical load\n" in lines + "\n"
    assert found["best"] is None and found["busy"] == {"contention": 0.4}
    assert "The machine was up to 40% slower than when quiet" in lines
    left_out = found["over_budget_when_measured"]
    assert left_out and all(o["sessions"] == (SESSIONS + REPEATS + 1) / 2 for o in left_out)  # no majority any more
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    table.show(console, found)
    assert "The machine was up to 40% slower than when quiet" in console.export_text()


def test_percentile_90_must_hold_where_it_is_promised(searched):
    calm = Predictor(ms=1.0, bound_ms=1.2)
    found, _, run = searched(Timer(lambda _: measurement(5.0, p90_ms=11.0)), calm, trials=2)
    assert found["best"] is not None and found["percentile"] == 50
    shutil.rmtree(run.path)
    found, _, _ = searched(Timer(lambda _: measurement(5.0, p90_ms=11.0)), calm, trials=2, percentile=90)
    assert found["best"] is None and found["percentile"] == 90
    assert {o["p90_ms"] for o in found["over_budget_when_measured"]} == {11.0}


# --- a further search ---


def test_when_all_are_over_the_budget_further_trials_have_the_corrected_bound(searched):
    predictor = Assigned(3, 9.0, 7.0)  # the anchor and two candidates, then the others
    found, lines, run = searched(Timer(lambda name: 1.3 * predictor.bounds[name], lambda _: 1.0), predictor, trials=2)
    assert found["further_search"] == {"trials": 2, "growth": pytest.approx(1.3)}
    assert "adding 2 trials" in lines
    assert found["counts"]["trained"] == 4 and found["found"]["p50_ms"] == pytest.approx(9.1)
    assert found["found"]["bound_ms"] == pytest.approx(9.1)
    trials = [t for t in read_journal(run.journal).trials if t.anchor is None and t.outcome != "repeated"]
    assert [t.estimate.bound_ms for t in trials] == pytest.approx([9.0, 9.0, 9.1, 9.1])


def test_on_a_slower_machine_not_everything_near_the_budget_is_measured_in_vain(searched):
    predictor = Assigned(7, 9.0, 7.0)  # the anchor and six candidates, then the others
    meter = Timer(lambda name: 1.3 * predictor.bounds[name], lambda name: 0.9 * predictor.bounds[name])
    found, _, run = searched(meter, predictor, trials=6)
    measured = read_journal(run.journal).records(Measured).keys() - {a["id"] for a in found["anchors"]}
    assert len(measured) == 4 and found["counts"]["trained"] == 8
    assert [f["p50_ms"] for f in found["finalists"]] == pytest.approx([9.1, 9.1])


def test_a_further_search_is_made_once(searched):
    found, _, _ = searched(Timer(lambda _: BUDGET + 1, lambda _: 1.0), Assigned(3, 9.0, 7.0), trials=2)
    assert found["found"] is None and found["finished"]
    assert found["counts"]["trained"] <= 4


def test_what_random_search_found_beside_it_does_not_count_as_over(search):
    runs = []

    def proposed(name):
        return any(t.genotype.id == name for t in read_journal(runs[0].journal).trials)

    meter = Timer(lambda name: 5.0 if proposed(name) else BUDGET + 1, lambda _: 1.0)
    made, run, _ = search(meter, baseline=True, trials=3)
    runs.append(run)
    made.run()
    found, measured = result(run), read_journal(run.journal).records(Measured)
    assert any(m.p50_ms > BUDGET for i, m in measured.items() if not proposed(i))
    assert found["over_budget_when_measured"] == [] and found["further_search"] is None
    genotype = read_journal(run.journal).trials[-1].genotype
    assert made.state.estimate(genotype).bound_ms == 6.0


def test_no_further_search_when_the_time_is_over(searched):
    found, _, _ = searched(Timer(lambda _: BUDGET + 1), trials=2, time_s=1e-9)
    assert found["further_search"] is None and found["ended"] == "the time limit was reached"


# --- a device that is elsewhere ---


class Unmeasured(Timer):
    def session(self, networks, task, seed):
        raise AssertionError("nothing may be measured")

    check = session


def test_without_measuring_the_bound_constrains_and_nothing_is_claimed(searched):
    found, _, _ = searched(Unmeasured(None), measure=False, device="board")
    assert found["best"] and found["best"]["p50_ms"] is None and not found["measured"]
    assert found["verdict"].startswith(
        "Latency was not measured: device board is not this machine; measure export/model.onnx there."
    )
    assert "measured within" not in found["verdict"] and "when measured" not in found["verdict"]
    assert all(a["fits"] == (a["bound_ms"] <= BUDGET) for a in found["anchors"])
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    table.show(console, found)
    assert "NOT measured" in console.export_text()


@pytest.fixture
def foreign(workshop, tmp_path):
    """A profile of another machine, in a file."""
    [profile] = (workshop / "data" / "compact-nas" / "devices").glob("*.json")
    data = json.loads(profile.read_text())
    data["device"]["cpu"] = "Another processor"
    (tmp_path / "board.json").write_text(json.dumps(data))
    return tmp_path / "board.json"


@pytest.fixture
def nas_here(nas_here, monkeypatch):
    """Runs `nas ARGUMENTS` with trainings made up."""
    monkeypatch.setattr(session, "_executor", lambda run: Executor)
    return nas_here


def test_another_machines_profile_is_refused_by_the_name_of_the_flag_and_accepted_with_it(nas_here, quick_search, foreign):
    code, _, err = nas_here(*quick_search, "--device", foreign, "--run", "run")
    assert code == 2 and "another device" in err and "--no-measure" in err and not Path("run").exists()
    code, out, err = nas_here(*quick_search, "--device", foreign, "--run", "run", "--no-measure")
    assert code == 0, err
    assert "is not this machine; measure export/model.onnx there" in out and "NOT measured" in out
    assert Path("run/export/model.onnx").is_file()
    found = json.loads(Path("run/result.json").read_text())
    assert not found["measured"] and found["survey"]["samples"] > 0 and found["survey"]["anchors"]
    assert nas_here("resume", "run")[0] == 0


@pytest.mark.parametrize("flags", [["--confidence", "1.5"], ["--confidence", "1"], ["--percentile", "75"]])
def test_wrong_promises(nas_here, quick_search, flags):
    code, _, err = nas_here(*quick_search, *flags)
    assert code == 2 and flags[0] in err


def test_a_confidence_that_the_profile_has_too_few_networks_for(nas_here, quick_search):
    code, _, err = nas_here(*quick_search, "--confidence", "0.99")
    assert code == 2 and "too few" in err and "0.99" in err


def test_the_committed_example_opens_and_its_result_follows_from_its_journal():
    run = open_run(EXAMPLE)
    found, kept = result(run), json.loads((EXAMPLE / "result.json").read_text())
    assert found["best"]["p50_ms"] <= found["budget_ms"]
    assert {k: v for k, v in found.items() if k != "run"} == {k: v for k, v in kept.items() if k != "run"}
    table.show(Console(file=open("/dev/null", "w")), found)  # noqa: SIM115


# --- diagnosis ---


def each(predict):
    return lambda genotypes: [predict(genotype) for genotype in genotypes]


def test_the_survey_counts_the_share_and_says_which_anchors_fit(tmp_path, small_space):
    space = _space(tmp_path, small_space)

    def predict(genotype):
        ms = float(len(genotype.blocks))
        return Estimate(ms, 1.1 * ms, 1, 1)

    found = survey(space, each(predict), Limits(3.5), space.reference_networks(), budget="3.5 ms", samples=400)
    assert found.samples == 400 and found.fastest_ms == 3.0 and found.slowest_ms == 4.0
    assert found.share == pytest.approx(0.5, abs=0.1) and found.share_error == pytest.approx(0.025, abs=0.001)
    assert [(a.name, a.fits) for a in found.anchors] == [("mobilenet_v3:small", False)]
    assert any("upper bound over budget: mobilenet_v3:small" in line for line in lines(found, "3.5 ms"))


def test_a_budget_that_nothing_meets_is_refused_with_the_figures(tmp_path, small_space):
    space = _space(tmp_path, small_space)
    with pytest.raises(InputError, match=r"fastest is predicted at 3.00 ms .*the median is.*anchors within budget: none"):
        estimate = each(lambda g: Estimate(float(len(g.blocks)), 5.0, 1, 1))
        survey(space, estimate, Limits(1.0), space.reference_networks(), budget="1 ms", samples=64)


@pytest.mark.parametrize(
    "limits, said",
    [
        (Limits(size_bytes=999), "within B on this device: the smallest has weights of 3 KB; of "),
        (Limits(9, 999), "within B on this device: the smallest has weights of 3 KB; of "),
        (Limits(memory_bytes=900), "the least memory is 1 KB; of "),
        (
            Limits(1, 999, 5000),
            "(upper bound 3.30 ms); the smallest has weights of 3 KB; the tightest is latency; of ",
        ),
        (Limits(size_bytes=3500, memory_bytes=1100), "each can be met alone; the network nearest to all has weights "),
    ],
)
def test_budgets_that_nothing_meets_are_refused_naming_the_tightest(tmp_path, small_space, limits, said):
    space = _space(tmp_path, small_space)

    def estimate(genotype):  # deeper networks are slower and larger, but need less memory
        depth = len(genotype.blocks)
        return Estimate(float(depth), 1.1 * depth, 1, 1, size_bytes=1000 * depth, memory_bytes=1000 + 200 * (4 - depth))

    with pytest.raises(InputError) as refused:
        survey(space, each(estimate), limits, space.reference_networks(), budget="B", samples=64)
    assert said in str(refused.value)
    if "alone" in said:
        assert "; the tightest is memory; of" in str(refused.value)


def test_operations_that_the_profile_lacks_are_counted_and_an_anchor_with_them_is_named(tmp_path, small_space):
    space = _space(tmp_path, small_space)

    def predict(genotype):
        if any(b.kind == "shuffle" for b in genotype.blocks) or len(genotype.blocks) > 4:
            return uncovered(1, 1)
        return Estimate(1.0, 1.1, 1, 1)

    found = survey(space, each(predict), Limits(2.0), space.reference_networks(), budget="2 ms", samples=100)
    assert found.samples + found.refused == 100 and found.refused > 0 and found.share == 1 and found.share_error > 0
    assert "not covered by the device profile: mobilenet_v3:small" in " ".join(lines(found, "2 ms"))


def test_an_anchor_with_kernels_beyond_the_measured_ones_is_told_from_one_that_is_not_covered(tmp_path, small_space):
    space = _space(tmp_path, small_space)
    estimate = each(lambda g: Estimate(1.0, 1.1, 1, 1, 0.0 if len(g.blocks) <= 4 else 0.5))
    found = survey(space, estimate, Limits(2.0), space.reference_networks(), budget="2 ms", samples=100)
    assert "partly outside the device profile: mobilenet_v3:small" in " ".join(lines(found, "2 ms"))
    assert "not covered" not in " ".join(lines(found, "2 ms"))


def _space(folder, text):
    (folder / "small.yaml").write_text(text)
    return load_space(str(folder / "small.yaml"))


# --- the least budget that sessions hold ---

_SESSION = st.builds(
    measurement,
    st.floats(1.0, 20.0),
    robust_ms=st.floats(1.0, 20.0),
    contention=st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5]),
)


@settings(max_examples=200)
@given(st.lists(_SESSION, min_size=1, max_size=7), st.integers(1, 2), st.sampled_from([0.0, 0.04, 0.2]), st.floats(1.0, 30.0))
def test_a_budget_is_held_from_the_least_one_on_that_the_record_names(found, wanted, usual, budget_ms):
    sessions = timed(*found)
    record = LatencyBudget(budget_ms, usual=usual).record(sessions, wanted)
    as_usual = [m.p50_ms * max(1.0, (1 + usual) / (1 + m.contention)) ** 0.8 for m in found]
    assume(all(abs(ms - (1 - SPARE["float32"]) * budget_ms) > 1e-6 for ms in as_usual))
    inside = [ms < (1 - SPARE["float32"]) * budget_ms for ms in as_usual]
    surely_over = any(
        not ok and (m.contention <= 0.1 or m.robust_ms > 1.1 * budget_ms) for ok, m in zip(inside, found, strict=True)
    )
    held = sum(inside) >= wanted and sum(inside) > len(found) / 2 and not surely_over
    assert record.held == held
    assert record.holds_ms == LatencyBudget(1.0, usual=usual).record(sessions, wanted).holds_ms
    assert (record.holds_ms is None) == (len(found) < wanted)
