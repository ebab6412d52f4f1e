"""The layers of blocks by role, and statistics of their outputs derived from batch norm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from search_spaces.blocks.conv import Conv
from search_spaces.blocks.fused import Fused
from search_spaces.blocks.inverted_residual import InvertedResidual
from search_spaces.ops.squeeze_excite import SqueezeExcite

_POINTS = 33
_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution with its batch norm and activation (None for no activation)."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    act: nn.Module | None

    @classmethod
    def of(cls, layers: nn.Module) -> "Layer":
        """The layer made by ops.conv.conv_bn_act."""
        convolution, norm, *act = cast(nn.Sequential, layers)
        return cls(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm), act[0] if act else None)

    @property
    def weight(self) -> Tensor:
        """Weights [out, in / groups, k, k]."""
        return self.convolution.weight.detach()

    @property
    def scale(self) -> Tensor:
        """Batch norm's factor per channel in eval mode [out]."""
        return self.norm.weight.detach() / (cast(Tensor, self.norm.running_var) + self.norm.eps).sqrt()

    @property
    def column_norms(self) -> Tensor:
        """L1 norm of the weights per input channel, with batch norm folded in [in]."""
        weight = self.weight.abs().sum((2, 3)) * self.scale.abs()[:, None]
        return weight.flatten() if self.convolution.groups > 1 else weight.sum(0)

    @cached_property
    def outputs(self) -> "Outputs":
        """Statistics of the layer's outputs, assuming normally distributed values after normalisation."""
        shift, deviation = self.norm.bias.detach(), self.norm.weight.detach().abs()
        points = torch.special.ndtri((torch.arange(_POINTS) + 0.5) / _POINTS)
        points = points / points.square().mean().sqrt()
        values = (shift[:, None] + deviation[:, None] * points)[None, :, None]
        values = (values if self.act is None else self.act(values).detach())[0, :, 0]
        slope = (values * points).mean(1) / deviation.clamp(min=_FLOOR)
        return Outputs(values.mean(1), values.std(1, correction=0), slope)


@dataclass(frozen=True, eq=False)
class Outputs:
    """Mean, standard deviation and mean activation slope per channel [out]."""

    mean: Tensor
    deviation: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """The layers of an inverted bottleneck; None for missing ones.

    `dense` is the expansion of a fused bottleneck, which replaces expansion and depthwise convolution. A conv block has a
    projection only.
    """

    project: Layer
    start: Layer | None = None
    expand: Layer | None = None
    dense: Layer | None = None
    depthwise: Layer | None = None
    squeeze: SqueezeExcite | None = None

    @property
    def middle(self) -> int:
        """The number of input channels of the projection."""
        return self.project.convolution.in_channels

    @property
    def before(self) -> list[Layer]:
        """The convolutions between the first depthwise one and the projection, in order."""
        return [layer for layer in (self.expand, self.dense, self.depthwise) if layer is not None]

    @property
    def reading(self) -> Layer:
        """The layer that reads the block's input, ignoring the first depthwise convolution."""
        return (self.before or [self.project])[0]

    @property
    def middle_importance(self) -> Tensor:
        """Importance of the projection's input channels [middle]: how much the output varies with each."""
        weight = self.project.weight.abs().sum((0, 2, 3))
        return weight * self.before[-1].outputs.deviation if self.before else weight

    @property
    def mean_gates(self) -> Tensor:
        """Gates of squeeze-and-excitation for a feature map of mean values [middle]; ones without it."""
        if self.squeeze is None or not self.before:
            return torch.ones(self.middle)
        mean = self.before[-1].outputs.mean
        return cast(Tensor, self.squeeze.gate(mean[None, :, None, None])).detach().flatten()

    @property
    def linear_map(self) -> Tensor:
        """The block's linear map [out, in] for a constant input, with each activation replaced by its mean slope."""
        layers = [*([] if self.start is None else [self.start]), *self.before]
        return _linear(self.project) @ (self.mean_gates[:, None] * _product(layers, self.project.convolution.in_channels))


def parts_of(block: nn.Module) -> Parts | None:
    """The parts of a conv (ungrouped, with batch norm), inverted_residual or fused block; None for others."""
    if isinstance(block, Conv):
        dense = len(block.layers) > 1 and isinstance(block.layers[1], nn.BatchNorm2d) and block.layers[0].groups == 1
        return Parts(Layer.of(block.layers)) if dense else None
    if isinstance(block, Fused):
        return Parts(Layer.of(block.layers[1]), dense=Layer.of(block.layers[0]))
    return _parts_of_inverted(block) if isinstance(block, InvertedResidual) else None


def _parts_of_inverted(block: InvertedResidual) -> Parts:
    squeeze = next((module for module in block.layers if isinstance(module, SqueezeExcite)), None)
    *before, project = [Layer.of(module) for module in block.layers if module is not squeeze]
    depthwise = next((layer for layer in before if layer.convolution.kernel_size[0] > 1), None)
    expand = next((layer for layer in before if layer is not depthwise), None)
    start = None if block.start is None else Layer.of(block.start)
    return Parts(project, start, expand, None, depthwise, squeeze)


def _product(layers: Sequence[Layer], width: int) -> Tensor:
    matrix = torch.eye(layers[0].convolution.in_channels if layers else width)
    for layer in layers:
        matrix = _linear(layer) * matrix if layer.convolution.groups > 1 else _linear(layer) @ matrix
    return matrix


def _linear(layer: Layer) -> Tensor:
    """The layer's linear map [out, in / groups]."""
    return layer.weight.sum((2, 3)) * (layer.outputs.slope * layer.scale)[:, None]
