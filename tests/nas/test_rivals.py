"""Hand-designed networks of a search: those that the device's runtime cannot run are left out, and named once."""

from types import SimpleNamespace

from nas.pipeline import rivals
from nas.pipeline.state import State
from search_spaces.anchor import anchor
from search_spaces.errors import InputError


def test_an_anchor_that_cannot_be_timed_is_left_out_and_named_once():
    within = SimpleNamespace(beyond=lambda _: False, fits=lambda _: True)
    unknown = SimpleNamespace(beyond=lambda _: True, fits=lambda _: True)
    estimates = {"mobilenet_v2": within, "googlenet": unknown}
    anchors = {name: anchor(name) for name in estimates}
    said: list[str] = []

    def refuse(*_: object) -> None:
        raise InputError("the runtime lacks lrn")

    state = SimpleNamespace(
        anchors=anchors,
        estimate=lambda genotype: next(estimates[name] for name, known in anchors.items() if known.genotype == genotype),
        config=SimpleNamespace(measure=True),
        limits=None,
        study=SimpleNamespace(in_doubt=lambda _: False),
        timed=refuse,
        view=SimpleNamespace(say=said.append),
        _left_out=set(),
    )
    state.leave_out = lambda entry, reason: State.leave_out(state, entry, reason)
    for _ in range(2):
        assert rivals.fitting(state) == [anchors["mobilenet_v2"]]
    assert said == ["googlenet is left out: the runtime lacks lrn"]
