"""fe: FE-Net's FE-Block, inverted bottlenecks with a learnt shift on growing subsets of the channels."""

from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.conv import conv_bn_act
from search_spaces.ops.shift import split
from search_spaces.ops.sparse_shift import SparseShift
from search_spaces.registry import block


@block("fe")
class Fe(nn.Module):
    """Units of pointwise expansion, learnt sparse shift and pointwise projection on growing subsets of the channels.

    The channels are split into [..., 4P, 2P, P, P]. The first unit processes the last part, each following unit its
    predecessor's output with the part before it, and the last unit all channels; only that one changes the width, has no
    identity, and pools instead of shifting at stride 2. `expand` multiplies the input channels of each unit or, with
    `pool_expands=output`, the output channels of the pooling unit, as in the authors' code. The first part takes remaining
    channels; with fewer than 2^(units - 1) channels, there are fewer units. arXiv:1903.05285; details from
    hikvision-research/SparseShiftLayer.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        units: Literal[1, 2, 3, 4] = 3,
        expand: float = 6.0,
        act: Act = "relu",
        pool_expands: Literal["input", "output"] = "input",
    ) -> None:
        super().__init__()
        if not 0 < expand <= 64:
            raise InputError("expand must be above 0 and at most 64")
        self.parts = part_widths(c_in, units)
        widths = [sum(self.parts[i:]) for i in range(len(self.parts) - 1, 0, -1)]
        self.units = nn.ModuleList(Unit(width, int(width * expand), width, 1, act, adds=True) for width in widths)
        expanded = c_out if stride == 2 and pool_expands == "output" else c_in
        self.last = Unit(c_in, int(expanded * expand), c_out, stride, act, adds=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] to [N, c_out, H/stride, W/stride], sizes rounded up."""
        *earlier, y = split(x, self.parts, 1)
        for unit, part in zip(self.units, reversed(earlier), strict=True):
            y = torch.cat([part, unit(y)], 1)
        return self.last(y)  # type: ignore[no-any-return]


def part_widths(channels: int, units: int) -> list[int]:
    """The widths of the parts for `units` units (fewer if there are too few channels), in channel order."""
    units = min(units, channels.bit_length())
    smallest = channels >> (units - 1)
    later = [smallest << max(0, i - 1) for i in range(units - 1)]
    return [channels - sum(later), *reversed(later)]


class Unit(nn.Module):
    """Expansion, shift (stride 1) or 2x2 average pooling (stride 2), projection, identity if `adds`."""

    def __init__(self, c_in: int, middle: int, c_out: int, stride: int, act: Act, *, adds: bool) -> None:
        super().__init__()
        middle = max(1, middle)
        self.expand = conv_bn_act(c_in, middle, act=act)
        self.move = SparseShift(middle) if stride == 1 else nn.AvgPool2d(2, ceil_mode=True)
        self.project = conv_bn_act(middle, c_out)
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.move(self.expand(x)))
        return x + y if self.adds else y  # type: ignore[no-any-return]

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Permutes the middle channels in place so that channels with equal offsets are adjacent."""
        if order := self.order():
            self.load_state_dict(self.renumbered(order), strict=False)

    def order(self) -> tuple[int, ...]:
        """The permutation that makes middle channels with equal offsets adjacent; empty if they are."""
        return self.move.plan().order if isinstance(self.move, SparseShift) else ()

    def renumbered(self, order: tuple[int, ...]) -> dict[str, Tensor]:
        """Parameters and buffers with the middle channels permuted."""
        weight = self.project.get_parameter("0.weight")
        index = torch.tensor(order, device=weight.device)
        state = {"project.0.weight": weight.index_select(1, index)}
        for part, module in (("expand", self.expand), ("move", self.move)):
            tensors = (*module.named_parameters(prefix=part), *module.named_buffers(prefix=part))
            state |= {name: tensor.index_select(0, index) for name, tensor in tensors if tensor.dim()}
        return state
