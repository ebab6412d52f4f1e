"""Maps donor channels to a network's channels: selection by importance, copies for wider layers, adapted input weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Reader(Protocol):
    """Adapts a layer's weights to its input channels."""

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Maps weights [out, donor channels, ...] to [out, network channels, ...]."""


@dataclass(frozen=True, eq=False)
class Channels:
    """Channels of a network, each a copy of donor channel `source[i]` out of `width`."""

    source: Tensor
    width: int

    @classmethod
    def all(cls, width: int) -> "Channels":
        """The donor's channels unchanged."""
        return cls(torch.arange(width), width)

    @classmethod
    def choose(cls, importance: Tensor, count: int, draws: torch.Generator) -> "Channels":
        """The `count` most important channels in the donor's order; if there are fewer, all plus random copies."""
        width = len(importance)
        if count <= width:
            kept = importance.argsort(descending=True, stable=True)[:count]
            return cls(kept.sort().values, width)
        rounds = [torch.randperm(width, generator=draws) for _ in range(-(-count // width) - 1)]
        return cls(torch.cat([torch.arange(width), *rounds])[:count], width)

    @cached_property
    def copied(self) -> bool:
        """Whether any donor channel occurs more than once."""
        return len(self.source.unique()) < len(self.source)

    def rows(self, tensor: Tensor) -> Tensor:
        """Maps [donor channels, ...] to [network channels, ...]."""
        return tensor.index_select(0, self.source)

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Splits a copied channel's weight randomly between its copies, anew per output (Net2Net, arXiv:1511.05641)."""
        taken = weight.index_select(1, self.source)
        if not self.copied:
            return taken
        parts = torch.rand(len(weight), len(self.source), generator=draws) + 0.5
        sums = torch.zeros(len(weight), self.width).index_add_(1, self.source, parts)
        shares = parts / sums.index_select(1, self.source)
        return taken * shares.reshape(*shares.shape, *[1] * (weight.dim() - 2))


@dataclass(frozen=True, eq=False)
class Mixed:
    """Reads `channels` in place of others that are `matrix` [others, donor channels] times them."""

    channels: Channels
    matrix: Tensor

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        return self.channels.columns(torch.einsum("oc...,ca->oa...", weight, self.matrix), draws)


@dataclass(frozen=True)
class Colours:
    """An image with another number of channels than the donor's: every channel gets the mean weight."""

    channels: int

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        total = weight.sum(1, keepdim=True)
        return (total / self.channels).expand(-1, self.channels, *total.shape[2:])
