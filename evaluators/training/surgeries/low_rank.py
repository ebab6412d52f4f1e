"""low_rank: factorises pointwise convolutions by truncated SVD, into one with fewer outputs and one that restores them."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from evaluators.training import surgery
from evaluators.training.surgery import Pair
from search_spaces.genotype import BlockSpec
from search_spaces.network import Network, classifier
from search_spaces.registry import block_kind
from search_spaces.schema import Share, strict
from search_spaces.task import Task


@strict
@dataclass(frozen=True)
class Settings:
    """From the progress `at` on, weights have the lowest rank that keeps `energy`, a share of the squared singular values."""

    energy: Annotated[float, Field(gt=0, le=1)]
    at: Share


class Surgery(surgery.Surgery[Settings]):
    """Factorises `conv` blocks with kernel=1 at stride 1, ungrouped, where the two factors have fewer weights than the one.

    From `at` on, weights are projected to their rank after each step; then two blocks compute what the one did: `conv` with
    `rank` outputs, without norm and activation, and the block itself on these. The rank is by energy, as in arXiv:1404.0736.
    """

    def attach(self, network: Network) -> None:
        names = surgery.names_of(network)
        pairs = [pair for sequence in surgery.sequences(network) for pair in sequence if _is_pointwise(pair[0])]
        self._layers = {names[layer]: layer for layer in (surgery.only(module, nn.Conv2d) for _, module in pairs)}
        if not self._layers:
            raise surgery.none_found("low_rank", network, ["ungrouped conv blocks with kernel=1"])

    def before(self, network: Network, progress: float) -> None:
        if progress >= self._settings.at and not self.masks:
            self.masks = {name: torch.tensor(self._rank(layer.weight)) for name, layer in self._layers.items()}
            self.after(network)

    @torch.no_grad()
    def after(self, network: nn.Module) -> None:
        for name, rank in self.masks.items():
            layer = network.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            if _saves(layer, int(rank)):
                first, second = _factors(layer.weight, int(rank))
                layer.weight.copy_((second @ first)[:, :, None, None])

    def closed(self, network: Network) -> Network:
        self.before(network, 1.0)
        names = surgery.names_of(network)

        def factorised(pairs: list[Pair]) -> list[Pair]:
            found = []
            for spec, module in pairs:
                layer = surgery.only(module, nn.Conv2d) if _is_pointwise(spec) else None
                if layer is not None and _saves(layer, rank := int(self.masks[names[layer]])):
                    found.append(_reduction(layer, rank))
                found.append((spec, module))
            return found

        assert network.genotype.input
        return surgery.rewritten(network, factorised, Task(network.genotype.input, len(classifier(network).weight)))

    def _rank(self, weight: Tensor) -> int:
        """The lowest rank that keeps the energy of a weight [O, I, 1, 1]."""
        squares = torch.linalg.svdvals(weight.detach().flatten(1).double()).square()
        kept = squares.cumsum(0) >= self._settings.energy * squares.sum() * (1 - 1e-12)
        return int(kept.int().argmax()) + 1


def _is_pointwise(spec: BlockSpec) -> bool:
    return spec.kind == "conv" and spec.stride == 1 and spec.knob("kernel") == 1 and spec.knob("groups") == 1


def _saves(layer: nn.Conv2d, rank: int) -> bool:
    """Whether two factors have fewer weights than the layer."""
    outputs, inputs = layer.weight.shape[:2]
    return rank * (outputs + inputs) < outputs * inputs


def _factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """[rank, I] and [O, rank], whose product is the closest to a weight [O, I, 1, 1]; both share its scale."""
    left, values, right = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
    scale = values[:rank].sqrt()
    return scale[:, None] * right[:rank], left[:, :rank] * scale


def _reduction(layer: nn.Conv2d, rank: int) -> Pair:
    """The block that reduces a layer's input to `rank` channels; changes the layer to one on these, in place."""
    first, second = _factors(layer.weight, rank)
    module = block_kind("conv").load()(layer.in_channels, rank, 1, kernel=1, act="none", norm=False)
    surgery.only(module, nn.Conv2d).weight = nn.Parameter(first[:, :, None, None])
    layer.weight = nn.Parameter(second[:, :, None, None])
    return BlockSpec.make("conv", rank, 1, {"kernel": 1, "act": "none", "norm": False}), module
