"""Which of a donor's channels a network's are: kept by importance, copied where there are more, read at random shares."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Reader(Protocol):
    """How a layer reads the channels of its input."""

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Weights [out, donor's channels, ...] as weights [out, the network's channels, ...]."""


@dataclass(frozen=True, eq=False)
class Channels:
    """Channels of a network, each a copy of one of the donor's `width` channels: `source` [n] says of which."""

    source: Tensor
    width: int

    @classmethod
    def all(cls, width: int) -> "Channels":
        """The donor's channels as they are."""
        return cls(torch.arange(width), width)

    @classmethod
    def choose(cls, importance: Tensor, count: int, draws: torch.Generator) -> "Channels":
        """The `count` most important channels in the donor's order; where there are fewer, all and copies of random ones."""
        width = len(importance)
        if count <= width:
            kept = importance.argsort(descending=True, stable=True)[:count]
            return cls(kept.sort().values, width)
        rounds = [torch.randperm(width, generator=draws) for _ in range(-(-count // width) - 1)]
        return cls(torch.cat([torch.arange(width), *rounds])[:count], width)

    @cached_property
    def copied(self) -> bool:
        """Whether two channels are copies of the same one."""
        return len(self.source.unique()) < len(self.source)

    def rows(self, tensor: Tensor) -> Tensor:
        """[donor's channels, ...] to [the network's channels, ...]."""
        return tensor.index_select(0, self.source)

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Copies of a channel are read at random shares that sum to one, others for each output (Net2Net, arXiv:1511.05641)."""
        taken = weight.index_select(1, self.source)
        if not self.copied:
            return taken
        parts = torch.rand(len(weight), len(self.source), generator=draws) + 0.5
        sums = torch.zeros(len(weight), self.width).index_add_(1, self.source, parts)
        shares = parts / sums.index_select(1, self.source)
        return taken * shares.reshape(*shares.shape, *[1] * (weight.dim() - 2))


@dataclass(frozen=True, eq=False)
class Mixed:
    """Channels that a layer has to read in place of others, which are `matrix` [others, the donor's channels] times them."""

    channels: Channels
    matrix: Tensor

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        return self.channels.columns(torch.einsum("oc...,ca->oa...", weight, self.matrix), draws)


@dataclass(frozen=True)
class Colours:
    """An image of another number of channels than the donor's: each is read as the mean of the donor's channels."""

    channels: int

    def columns(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        total = weight.sum(1, keepdim=True)
        return (total / self.channels).expand(-1, self.channels, *total.shape[2:])
