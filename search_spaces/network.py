"""build(genotype, task): builds the torch network of a genotype."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.registry import block_kind
from search_spaces.task import Task


class Row(nn.Module):
    """A sequence of blocks; `widths[i]` is the output channels of `blocks[i]`.

    Input [N, C, H, W]; `image` is the network's input, for blocks that read it.
    """

    def __init__(self, blocks: Sequence[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.widths = tuple(widths)
        self.reads_image = any(getattr(block, "reads_image", False) for block in blocks)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        for module in self.blocks:
            x = run_block(module, x, image)
        return x


class Network(nn.Module):
    """A network. Input [N, C, H, W] float, output logits [N, classes]; `blocks[i]` is the genotype's i-th block."""

    def __init__(self, blocks: Sequence[nn.Module], genotype: Genotype) -> None:
        super().__init__()
        self.genotype = genotype
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> Tensor:
        return self.after(0, image, image)

    def after(self, count: int, x: Tensor, image: Tensor) -> Tensor:
        """Logits from `x`, the output of the first `count` blocks for `image`."""
        for module in self.blocks[count:]:
            x = run_block(module, x, image)
        return x


def run_block(module: nn.Module, x: Tensor, image: Tensor | None) -> Tensor:
    """Runs one block; a block that `reads_image` (ESPNetV2's reinforcement) also gets the network's input."""
    return module(x, image) if getattr(module, "reads_image", False) else module(x)  # type: ignore[no-any-return]


def build(genotype: Genotype, task: Task) -> Network:
    """Builds the network of `genotype` for `task`, with weights drawn from torch's global generator.

    Raises InputError naming the block when its knobs are incompatible.
    """
    blocks = [build_block(spec, c_in, task.classes) for spec, c_in in with_inputs(genotype, task)]
    network = Network(blocks, genotype)
    initialise(network)
    return network


def with_inputs(genotype: Genotype, task: Task) -> Iterator[tuple[BlockSpec, int]]:
    """Each block with its number of input channels."""
    c_in = task.input[0]
    for spec in genotype.blocks:
        yield spec, c_in
        c_in = spec.out_width(c_in)


def build_block(spec: BlockSpec, c_in: int, classes: int) -> nn.Module:
    """Builds one block with `c_in` input channels; raises InputError quoting the block's text."""
    kind = block_kind(spec.kind)
    given: dict[str, Any] = {"c_in": c_in, "c_out": spec.width, "stride": spec.stride, "classes": classes}
    if spec.branches:
        given |= {"branches": [_row(branch, c_in, classes) for branch in spec.branches]}
        spec.out_width(c_in)
    try:
        return kind.load()(*(given[name] for name in kind.takes), **spec.arguments())  # type: ignore[no-any-return]
    except InputError as error:
        raise InputError(f'block "{spec.line}" with {c_in} input channels: {error}') from None


def _row(blocks: Iterable[BlockSpec], c_in: int, classes: int) -> Row:
    modules, widths = [], []
    for spec in blocks:
        modules.append(build_block(spec, c_in, classes))
        c_in = spec.out_width(c_in)
        widths.append(c_in)
    return Row(modules, widths)


def initialise(network: nn.Module) -> None:
    """He initialisation (arXiv:1502.01852, per group) for convolutions, normal(0, .01) for linear layers, zero biases.

    Fan-out for convolutions before batch norm; fan-in for convolutions with a bias, which nothing rescales.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.out_channels // module.groups if module.bias is None else module.weight.shape[1]
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / (fan * math.prod(module.kernel_size))))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def example_input(task: Task, batch: int = 1, seed: int = 0) -> Tensor:
    """Standard normal images [batch, C, H, W], determined by the seed."""
    return torch.randn(batch, *task.input, generator=torch.Generator().manual_seed(seed))


def classifier(network: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer that computes the logits: the last linear layer or convolution."""
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    return last
