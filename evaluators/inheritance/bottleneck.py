"""Inherits convolutions and inverted bottlenecks: slices or copies channels, crops or pads kernels, initialises new layers as
identities.

Plain and fused bottlenecks inherit from each other. A fused one takes the product of expansion and depthwise kernel; a plain
one takes the best rank-one factorisation of each dense kernel. The activation between the two is lost or new, so the function
changes, and batch-norm statistics must be re-estimated.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluators.inheritance.channels import Channels, Reader
from evaluators.inheritance.filling import Filling, begin_as_selection, open_gates
from evaluators.inheritance.parts import Layer, Parts

_LINEAR_SHIFT = 2.0  # in standard deviations: shifts inputs to where the activation is nearly linear


@dataclass(frozen=True, eq=False)
class Ends:
    """The donor channels at a block's input, with the `reader` that adapts weights to them, and those at its output."""

    inputs: Channels
    reader: Reader
    outputs: Channels


def fill_bottleneck(filling: Filling, ours: Parts, theirs: Parts, ends: Ends) -> None:
    """Fills a block with inherited weights, in place."""
    inputs, reader, outputs = ends.inputs, ends.reader, ends.outputs
    if ours.start is not None and theirs.start is not None:
        filling.layer(ours.start, theirs.start, inputs.rows(theirs.start.weight), inputs)
        reader = inputs
    elif ours.start is not None:
        begin_as_selection(ours.start, torch.zeros_like(inputs.source))
    middle = _fill_expansion(filling, ours, theirs, inputs, reader)
    if ours.depthwise is not None:
        _fill_depthwise(filling, ours.depthwise, theirs, middle)
    weight = outputs.rows(theirs.project.weight * _fill_gates(filling, ours, theirs, middle))
    last = middle if ours.before else reader
    filling.layer(ours.project, theirs.project, last.columns(weight, filling.draws), outputs)


def _fill_expansion(filling: Filling, ours: Parts, theirs: Parts, inputs: Channels, reader: Reader) -> Channels:
    """Fills a pointwise or fused expansion; returns the donor's channels in the middle."""
    expands = theirs.expand is not None or theirs.dense is not None
    if ours.dense is not None and theirs.before:
        return _fill_dense(filling, ours.dense, theirs, reader)
    if ours.expand is None:
        return _nearest(theirs, inputs) if expands else inputs
    if not expands:
        return _fill_new_expansion(filling, ours.expand, theirs, inputs, reader)
    middle = Channels.choose(theirs.middle_importance, ours.middle, filling.draws)
    if theirs.dense is not None:
        pointwise, _ = _factors(theirs.dense)
        _fill_factor(filling, ours.expand, reader.columns(middle.rows(pointwise), filling.draws))
    elif theirs.expand is not None:
        filling.layer(ours.expand, theirs.expand, reader.columns(middle.rows(theirs.expand.weight), filling.draws), middle)
    return middle


def _fill_dense(filling: Filling, layer: Layer, theirs: Parts, reader: Reader) -> Channels:
    middle = Channels.choose(theirs.middle_importance, layer.convolution.out_channels, filling.draws)
    filling.layer(layer, theirs.before[-1], reader.columns(middle.rows(_merged(theirs)), filling.draws), middle)
    return middle


def _nearest(theirs: Parts, inputs: Channels) -> Channels:
    """Without an expansion: for each input channel, the expanded channel with the largest importance times input share."""
    weight = theirs.before[0].weight.abs().sum((2, 3))
    share = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo().tiny)
    return Channels((theirs.middle_importance[:, None] * share).argmax(0)[inputs.source], theirs.middle)


def _fill_new_expansion(filling: Filling, layer: Layer, theirs: Parts, inputs: Channels, reader: Reader) -> Channels:
    """Initialises an expansion that the donor lacks with copies of the input; a repeated activation does not change them."""
    picked = Channels.choose(theirs.middle_importance[inputs.source], layer.convolution.out_channels, filling.draws)
    middle = Channels(inputs.source[picked.source], theirs.middle)
    if isinstance(reader, Channels):
        begin_as_selection(layer, picked.source)
    else:
        weight = torch.eye(inputs.width)[middle.source][:, :, None, None]
        _fill_factor(filling, layer, reader.columns(weight, filling.draws))
    return middle


def _fill_factor(filling: Filling, layer: Layer, weight: Tensor) -> None:
    """Fills an expansion whose activation the donor lacks, shifted to where the activation is nearly linear."""
    filling.kernel(layer.convolution, weight)
    nn.init.constant_(layer.norm.bias, _LINEAR_SHIFT)


def _fill_depthwise(filling: Filling, layer: Layer, theirs: Parts, middle: Channels) -> None:
    if theirs.depthwise is not None:
        filling.layer(layer, theirs.depthwise, middle.rows(theirs.depthwise.weight), middle)
    elif theirs.dense is not None:
        _, kernel = _factors(theirs.dense)
        filling.layer(layer, theirs.dense, middle.rows(kernel), middle)
    else:
        begin_as_selection(layer, torch.zeros_like(middle.source))


def _fill_gates(filling: Filling, ours: Parts, theirs: Parts, middle: Channels) -> Tensor | float:
    """Fills squeeze-and-excitation; returns the factor on the projection's input channels that compensates for changes."""
    if ours.squeeze is None:
        return theirs.mean_gates[:, None, None] if theirs.squeeze is not None else 1.0
    if theirs.squeeze is None:
        return 1 / open_gates(ours.squeeze)
    filling.gates(ours.squeeze, theirs.squeeze, middle)
    return 1.0


def _merged(theirs: Parts) -> Tensor:
    """The donor's expansion and depthwise kernel merged to a dense kernel [middle, in, k, k], up to a factor per channel."""
    if theirs.depthwise is None:
        return theirs.before[-1].weight
    kernel = theirs.depthwise.weight
    if theirs.expand is None:
        return torch.diag_embed(kernel[:, 0].permute(1, 2, 0)).permute(2, 3, 0, 1)
    return kernel * theirs.expand.weight * theirs.expand.scale.sign()[:, None, None, None]


def _factors(dense: Layer) -> tuple[Tensor, Tensor]:
    """Pointwise [middle, in, 1, 1] and depthwise weights [middle, 1, k, k] whose product best approximates the dense ones."""
    weight = dense.weight
    pointwise, sizes, kernels = torch.linalg.svd(weight.flatten(2), full_matrices=False)
    sign = kernels[:, 0].sum(1).sign()
    pointwise, kernel = pointwise[:, :, 0] * (sizes[:, 0] * sign)[:, None], kernels[:, 0] * sign[:, None]
    return pointwise[:, :, None, None], kernel.reshape(len(weight), 1, *weight.shape[2:])
