"""Writes donor weights into a network's layers, and counts the inherited parameters."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from evaluators.inheritance.channels import Channels
from evaluators.inheritance.parts import Layer
from search_spaces.ops.squeeze_excite import SqueezeExcite

_OPEN = 0.75  # initial gates of a new squeeze-and-excitation: far enough from 1 to learn
_OPEN_BIAS = {nn.Hardsigmoid: 6 * (_OPEN - 0.5), nn.Sigmoid: math.log(_OPEN / (1 - _OPEN))}


class Filling:
    """Fills layers in place; `inherited` counts the parameters set from the donor.

    Inherited batch norms get the donor's epsilon, `eps`; `draws` is the generator for splitting weights between copies.
    """

    def __init__(self, eps: float, draws: torch.Generator) -> None:
        self.eps, self.draws, self.inherited = eps, draws, 0

    def copy(self, block: nn.Module, source: nn.Module) -> None:
        """Copies all tensors of a block with the same shapes."""
        block.load_state_dict(source.state_dict())
        self.inherited += sum(parameter.numel() for parameter in block.parameters())
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = self.eps

    def layer(self, layer: Layer, source: Layer, weight: Tensor, rows: Channels) -> None:
        """Fills a layer: `weight` cropped or padded to its kernel, the rest from the source's `rows`."""
        self.kernel(layer.convolution, weight)
        self.norm(layer.norm, source.norm, rows)
        if layer.convolution.bias is not None and source.convolution.bias is not None:
            self.write(layer.convolution.bias, rows.rows(source.convolution.bias.detach()))
        if isinstance(layer.act, nn.PReLU) and isinstance(source.act, nn.PReLU):
            self.write(layer.act.weight, rows.rows(source.act.weight.detach()))

    def kernel(self, convolution: nn.Conv2d, weight: Tensor) -> None:
        """Fills a kernel with weights [out, in, k, k] of any odd size, zero-padded or cropped."""
        edge = (convolution.kernel_size[0] - weight.shape[-1]) // 2
        fitted = nn.functional.pad(weight, (edge,) * 4)
        self.write(convolution.weight, fitted, min(fitted.numel(), weight.numel()))

    def norm(self, norm: nn.BatchNorm2d, source: nn.BatchNorm2d, rows: Channels) -> None:
        """Fills scale, shift and statistics."""
        norm.eps = self.eps
        self.write(norm.weight, rows.rows(source.weight.detach()))
        self.write(norm.bias, rows.rows(source.bias.detach()))
        cast(Tensor, norm.running_mean).copy_(rows.rows(cast(Tensor, source.running_mean)))
        cast(Tensor, norm.running_var).copy_(rows.rows(cast(Tensor, source.running_var)))
        cast(Tensor, norm.num_batches_tracked).copy_(cast(Tensor, source.num_batches_tracked))

    def linear(self, layer: nn.Linear, source: nn.Linear, weight: Tensor) -> None:
        """Fills a linear layer with `weight` [out, in] and the source's bias."""
        self.write(layer.weight, weight)
        self.write(layer.bias, source.bias.detach())

    def gates(self, squeeze: SqueezeExcite, source: SqueezeExcite, middle: Channels) -> None:
        """Fills squeeze-and-excitation over the channels `middle`; selects squeezed units by importance."""
        (reduce, widen), (down, up) = gate_layers(squeeze), gate_layers(source)
        importance = down.weight.detach().abs().sum((1, 2, 3)) * up.weight.detach().abs().sum((0, 2, 3))
        squeezed = Channels.choose(importance, reduce.out_channels, self.draws)
        self.write(reduce.weight, middle.columns(squeezed.rows(down.weight.detach()), self.draws))
        self.write(cast(Tensor, reduce.bias), squeezed.rows(cast(Tensor, down.bias).detach()))
        self.write(widen.weight, squeezed.columns(middle.rows(up.weight.detach()), self.draws))
        self.write(cast(Tensor, widen.bias), middle.rows(cast(Tensor, up.bias).detach()))

    def silence(self, norm: nn.BatchNorm2d) -> None:
        """Resets the scale and shift of a filled batch norm to zero."""
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        self.inherited -= norm.weight.numel() + norm.bias.numel()

    def write(self, target: Tensor, values: Tensor, inherited: int | None = None) -> None:
        """Copies values into a parameter; counts all of them, or `inherited`, as inherited."""
        with torch.no_grad():
            target.copy_(values)
        self.inherited += target.numel() if inherited is None else inherited


def gate_layers(squeeze: SqueezeExcite) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The two 1x1 convolutions of squeeze-and-excitation."""
    return cast(nn.Conv2d, squeeze.gate[0]), cast(nn.Conv2d, squeeze.gate[2])


def open_gates(squeeze: SqueezeExcite) -> float:
    """Initialises squeeze-and-excitation to a constant gate, and returns that."""
    _, widen = gate_layers(squeeze)
    nn.init.zeros_(widen.weight)
    nn.init.constant_(cast(Tensor, widen.bias), _OPEN_BIAS[type(squeeze.gate[3])])
    return _OPEN


def begin_as_selection(layer: Layer, source: Tensor) -> None:
    """Initialises a convolution and its batch norm to select input channels `source` [out]; zeros for a depthwise identity."""
    centre = layer.convolution.kernel_size[0] // 2
    weight = torch.zeros_like(layer.weight)
    weight[torch.arange(len(source)), source, centre, centre] = 1.0
    with torch.no_grad():
        layer.convolution.weight.copy_(weight)
        layer.norm.weight.fill_(math.sqrt(1 + layer.norm.eps))


def selects(convolution: nn.Conv2d) -> bool:
    """Whether each output is an unchanged input channel, as after `begin_as_selection`."""
    weight, centre = convolution.weight.detach(), convolution.kernel_size[0] // 2
    return bool((weight[:, :, centre, centre].amax(1) == 1).all() and weight.count_nonzero() == len(weight))
