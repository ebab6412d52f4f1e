"""Every anchor has exactly its stated parameters and MACs, and agrees with what was printed."""

import pytest

from evaluators.counting import MACS_RULES, PARAMS_RULES, agrees, rule
from nas.testing.networks import counted
from search_spaces.anchor import Anchor, anchor, anchor_names, anchors
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype

every_anchor = pytest.mark.parametrize("each", anchors(), ids=lambda a: a.name)


@every_anchor
def test_exact_figures(each: Anchor) -> None:
    assert counted(each.genotype, each.task)[:2] == (each.params, each.macs)


@every_anchor
@pytest.mark.parametrize("figure", ["params", "macs"])
def test_published_figures_are_reproduced_by_their_rule_or_said_to_be_unsettled(each: Anchor, figure: str) -> None:
    published = each.published
    printed, name = (
        (published.params_m, published.params_count) if figure == "params" else (published.macs_m, published.macs_count)
    )
    count = rule(PARAMS_RULES if figure == "params" else MACS_RULES, name)
    if printed is not None and not published.unsettled:
        assert agrees(printed, count(each.genotype, each.task))


@every_anchor
def test_figures_do_not_contradict_each_other_and_have_a_source(each: Anchor) -> None:
    assert each.published.source and each.paper and each.family
    assert each.published.top1 is None or 0 < each.published.top1 < 100


@every_anchor
def test_is_found_by_name_and_printed_canonically(each: Anchor) -> None:
    assert each.name in anchor_names()
    assert anchor(each.name) == each
    assert Genotype.parse(each.genotype.text) == each.genotype


def test_a_default_variant_is_found_with_and_without_its_name() -> None:
    assert anchor("mobilenet_v3:large") == anchor("mobilenet_v3") != anchor("mobilenet_v3:small")


def test_a_wrong_name_is_answered_with_the_near_miss() -> None:
    with pytest.raises(InputError, match='there is no anchor "mobilenet_v5"; did you mean "mobilenet_v'):
        anchor("mobilenet_v5")
