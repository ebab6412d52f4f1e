"""The blocks of ShiftNet and FE-Net: their parts, widths and shortcuts."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import avg_pool2d

from search_spaces.blocks.csc import Csc
from search_spaces.blocks.fe import Fe, part_widths
from search_spaces.errors import InputError
from search_spaces.ops.sparse_shift import SparseShift


def silenced(block: nn.Module) -> nn.Module:
    """`block` with a last convolution that gives zeros."""
    *_, last = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    nn.init.zeros_(last.weight)
    return block.eval()


def middles(block: nn.Module) -> list[int]:
    return [m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)][::2]


@pytest.mark.parametrize(
    "channels, units, parts",
    [
        (32, 1, [32]),
        (32, 2, [16, 16]),
        (32, 3, [16, 8, 8]),
        (64, 4, [32, 16, 8, 8]),
        (37, 3, [19, 9, 9]),
        (3, 4, [2, 1]),
        (1, 4, [1]),
    ],
)
def test_parts_of_an_fe_block(channels: int, units: int, parts: list[int]) -> None:
    assert part_widths(channels, units) == parts


def test_fe_units_see_growing_shares_of_the_channels() -> None:
    assert middles(Fe(32, 64, 2)) == [48, 96, 192]
    assert middles(Fe(64, 64, 1, units=4, expand=2)) == [16, 32, 64, 128]


def test_fe_pools_at_stride_2_and_shifts_at_stride_1() -> None:
    shifts = [sum(isinstance(m, SparseShift) for m in Fe(16, 16, stride).modules()) for stride in (1, 2)]
    assert shifts == [3, 2]


def test_a_single_part_is_not_split() -> None:
    """ONNX Runtime copies it, and LiteRT's converter fails on it."""
    aligned = SparseShift(8).eval()
    with torch.no_grad():
        aligned.row_offsets.fill_(1.0), aligned.col_offsets.fill_(0.0)
    for block, splits in ((Fe(8, 16, 2, units=1), False), (Fe(8, 16, 2, units=2), True), (aligned, False)):
        graph = make_fx(block.eval())(torch.randn(1, 8, 5, 5)).graph
        assert any("split" in str(node.target) for node in graph.nodes) == splits


def test_fe_units_add_the_identity_but_for_the_last() -> None:
    block = Fe(16, 16, 1)
    units = [m for m in block.modules() if hasattr(m, "adds")]
    assert [unit.adds for unit in units] == [True, True, False]
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(silenced(units[0])(x), x)


def test_fe_keeps_the_channels_before_the_first_units_until_the_last() -> None:
    block = Fe(16, 16, 1).eval()
    seen: list[Tensor] = []
    block.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 16, 5, 5)
    block(x)
    assert torch.equal(seen[0][:, :8], x[:, :8]) and not torch.equal(seen[0][:, 8:], x[:, 8:])


def test_csc_adds_the_identity_where_shapes_allow() -> None:
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(silenced(Csc(8, 8, 1))(x), x)
    assert not silenced(Csc(8, 12, 1))(x).any()


def test_csc_concatenates_the_pooled_input_where_it_shrinks_and_widens() -> None:
    x = torch.randn(2, 8, 5, 5)
    y = silenced(Csc(8, 12, 2))(x)
    assert not y[:, :4].any() and torch.equal(y[:, 4:], avg_pool2d(x, 3, 2, 1))
    assert not silenced(Csc(8, 8, 2))(x).any()


def test_csc_expands_the_width_it_computes() -> None:
    assert middles(Csc(32, 64, 2, expand=4)) == [128]
    assert middles(Csc(32, 80, 2, expand=2)) == [96]
    assert middles(Csc(64, 64, 1, expand=0.5)) == [32]


def test_wrong_knobs_are_refused() -> None:
    for wrong in ({"expand": 0.0}, {"dilation": 0}):
        with pytest.raises(InputError):
            Csc(8, 8, 1, **wrong)
    with pytest.raises(InputError):
        Fe(8, 8, 1, expand=-1)
