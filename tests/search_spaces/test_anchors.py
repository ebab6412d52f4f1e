"""Every anchor has exactly its stated parameters and MACs, and agrees with what was printed."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from evaluators.counting import MACS_RULES, PARAMS_RULES, agrees, rule
from search_spaces.anchor import Anchor, anchor, anchor_names, anchors
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build

every_anchor = pytest.mark.parametrize("each", anchors(), ids=lambda a: a.name)


def on_meta(each: Anchor) -> Network:
    with torch.device("meta"):
        return build(each.genotype, each.task).eval()


def macs_by_type(network: nn.Module, task_input: tuple[int, ...]) -> Counter[type]:
    """MACs of convolutions and of linear layers for one picture, counted by hooks, biases left out."""
    macs: Counter[type] = Counter()

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            macs[nn.Conv2d] += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs[nn.Linear] += output.numel() * module.in_features

    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.empty(1, *task_input, device="meta"))
    return macs


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@every_anchor
def test_exact_figures(each: Anchor) -> None:
    network = on_meta(each)
    assert parameters(network) == each.params
    assert macs_by_type(network, each.task.input).total() == each.macs


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
