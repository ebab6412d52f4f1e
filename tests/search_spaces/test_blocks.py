"""Every kind of block passes its suite; and what is particular to some of them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nas.testing import check_block
from search_spaces.blocks.eesp import dilations
from search_spaces.genotype import BlockSpec
from search_spaces.network import build_block, run_block
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.registry import Value, block_kinds

CLASSES = 5


def pair(width: int, size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """A feature map and the network's input, twice as large."""
    return torch.randn(batch, width, size, size), torch.randn(batch, 3, 2 * size, 2 * size)


@pytest.mark.parametrize("name", block_kinds())
def test_every_kind_is_what_a_search_needs(name: str) -> None:
    check_block(name)


def test_channel_shuffle_takes_channels_from_the_groups_in_turn() -> None:
    x = torch.arange(7.0).view(1, 7, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5, 6]
    assert channel_shuffle(x[:, :6], 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    "branches, receptive_field, rates",
    [(4, 13, [1, 2, 3, 4]), (4, 9, [1, 2, 3, 4]), (4, 7, [1, 1, 2, 3]), (4, 5, [1, 1, 1, 2]), (2, 3, [1, 1])],
)
def test_dilations_of_espnet_v2(branches: int, receptive_field: int, rates: list[int]) -> None:
    assert dilations(branches, receptive_field) == rates


def test_strided_eesp_is_pooled_input_beside_fused_pyramid_plus_pooled_image() -> None:
    module: Any = build_block(BlockSpec.make("eesp", 24, 2, {"reinforce": True}), 8, CLASSES).eval()
    x, image = pair(8, 15)
    pyramid = module.pyramid
    assert [branch.dilation[0] for branch in pyramid.branches] == [1, 1, 2, 3]
    a, b, c, d = (branch(pyramid.reduce(x)) for branch in pyramid.branches)
    new = pyramid.merge(pyramid.norm(torch.cat([a, a + b, a + b + c, a + b + c + d], 1)))
    pooled = torch.cat([avg_pool2d(x, 3, 2, 1), new], 1)
    halved = module.reinforcement(avg_pool2d(avg_pool2d(image, 3, 2, 1), 3, 2, 1))
    torch.testing.assert_close(run_block(module, x, image), module.act(pooled + halved))


def test_unused_modules_change_no_output() -> None:
    knobs: dict[str, Value] = {"reinforce": False, "authors_unused": True}
    full = build_block(BlockSpec.make("eesp", 24, 2, knobs), 8, CLASSES).eval()
    lean = build_block(BlockSpec.make("eesp", 24, 2), 8, CLASSES).eval()
    lean.load_state_dict({n: t for n, t in full.state_dict().items() if not n.startswith("unused")})
    x, image = pair(8, 8)
    assert torch.equal(run_block(full, x, image), run_block(lean, x, image))


@pytest.mark.parametrize("channels", [1, 3])
def test_reinforcement_reads_colour_and_grey_images(channels: int) -> None:
    module = build_block(BlockSpec.make("eesp", 24, 2, {"reinforce": True}), 8, CLASSES)
    image = torch.randn(2, channels, 57, 57, requires_grad=True)
    run_block(module, torch.randn(2, 8, 15, 15), image).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and image.grad.abs().sum() > 0
