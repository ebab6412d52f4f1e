"""Candidates that are estimated ahead of the first proposal: the same are proposed, and a session that ends does not wait."""

import threading
import time
from types import SimpleNamespace

import pytest

from nas.pipeline.ahead import ahead
from nas.testing.samplers import estimates, go_on, study


def _state(begun, estimate):
    """The parts of a session's state that are used."""
    return SimpleNamespace(study=begun, estimator=SimpleNamespace(estimate=estimate))


@pytest.mark.parametrize("sampler", ["surrogate", "evolution"])
def test_what_is_proposed_does_not_depend_on_it_and_is_estimated_before(tmp_path, sampler):
    alone = [t.genotype.text for t in go_on(study(tmp_path / "alone.log", sampler), 12)]
    begun, met = study(tmp_path / "journal.log", sampler), set()

    def estimate(genotypes):
        assert threading.current_thread() is not threading.main_thread()
        met.update(g.text for g in genotypes)
        return estimates(genotypes)

    with ahead(_state(begun, estimate), evaluated=4):
        deadline = time.monotonic() + 60
        while sampler == "surrogate" and len(met) < 200 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert [t.genotype.text for t in go_on(begun, 12)] == alone
    assert len(met) >= 200 if sampler == "surrogate" else not met
    assert not met or len(met.intersection(alone)) > 2


def test_a_session_that_ends_waits_for_one_network_only(tmp_path):
    reached, met = threading.Event(), []

    def estimate(genotypes):
        met.extend(genotypes)
        reached.set()
        time.sleep(0.05)  # as long as tracing its blocks takes
        return estimates(genotypes)

    with pytest.raises(KeyboardInterrupt), ahead(_state(study(tmp_path / "journal.log", "surrogate"), estimate), evaluated=4):
        assert reached.wait(60)
        raise KeyboardInterrupt
    assert len(met) < 20 and not any(thread.name.startswith("ahead") for thread in threading.enumerate())


def test_a_failure_is_not_swallowed(tmp_path):
    reached, ended = threading.Event(), []

    def estimate(genotypes):
        reached.set()
        raise ZeroDivisionError("a fault")

    begun = study(tmp_path / "journal.log", "surrogate")
    with pytest.raises(ZeroDivisionError, match="a fault"), ahead(_state(begun, estimate), evaluated=4):
        ended.append(reached.wait(60))
    assert ended == [True]
