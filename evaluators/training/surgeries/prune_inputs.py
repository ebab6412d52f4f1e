"""prune_inputs: drops the input channels of pre-activated convolutions with the smallest weights, as in Sparse-DenseNet."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from evaluators.training import surgery
from evaluators.training.augment import Parts
from evaluators.training.surgery import Pair
from search_spaces.blocks.select import Select
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec
from search_spaces.network import Network, classifier
from search_spaces.schema import FromZero, Share, strict
from search_spaces.task import Task


@strict
@dataclass(frozen=True)
class Settings:
    """`share` of the input channels is dropped, in equal parts at each progress in `at`; until the last of them, the loss has
    `l1` times the L1 norm of these convolutions' weights.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    at: Annotated[list[Share], Field(min_length=1, max_length=100)]
    l1: FromZero

    def __post_init__(self) -> None:
        if self.at != sorted(self.at):
            raise InputError("at must rise")


class Surgery(surgery.Surgery[Settings]):
    """Prunes the inputs of each convolution that follows a norm_act block in its sequence and is not grouped.

    A channel's rank is the sum of |weight| over outputs and kernel. A pruned convolution reads a `select` before its norm_act:
    norm and activation work channel by channel. Sparse-DenseNet drops 15 % at 1/6 and 1/3 of the training.
    """

    def attach(self, network: Network) -> None:
        names = surgery.names_of(network)
        self._layers = {names[layer]: layer for pairs in surgery.sequences(network) for _, layer in _found(pairs)}
        if not self._layers:
            raise surgery.none_found("prune_inputs", network, ["convolutions right after a norm_act"])
        for name, layer in self._layers.items():
            if _dropped(layer, self._settings.share) >= layer.in_channels:
                raise InputError(f"share {self._settings.share:g} would prune all {layer.in_channels} inputs of {name}")
            self.masks[name] = torch.ones(1, layer.in_channels, 1, 1, device=layer.weight.device)

    def before(self, network: Network, progress: float) -> None:
        at = self._settings.at
        due = self._settings.share * sum(progress >= one for one in at) / len(at)
        for name, layer in self._layers.items():
            mask = self.masks[name]
            if (more := _dropped(layer, due) - int((mask == 0).sum())) > 0:
                ranks = layer.weight.detach().abs().sum((0, 2, 3)).masked_fill(mask.flatten() == 0, torch.inf)
                mask[:, ranks.argsort(stable=True)[:more]] = 0
        self.after(network)

    def penalty(self, logits: Tensor, parts: Parts, progress: float) -> Tensor:
        if progress >= self._settings.at[-1] or not self._settings.l1:
            return logits.new_zeros(())
        return self._settings.l1 * torch.stack([layer.weight.abs().sum() for layer in self._layers.values()]).sum()

    def after(self, network: nn.Module) -> None:
        surgery.zero_inputs(network, self.masks)

    def closed(self, network: Network) -> Network:
        names = surgery.names_of(network)

        def pruned(pairs: list[Pair]) -> list[Pair]:
            found = list(pairs)
            for place, layer in reversed(_found(pairs)):
                index = torch.nonzero(self.masks[names[layer]].flatten()).flatten()
                if len(index) < layer.in_channels:
                    selected = Select(layer.in_channels, len(index)).to(index.device)
                    selected.index = index
                    surgery.keep_channels(surgery.only(pairs[place - 1][1], nn.BatchNorm2d), index)
                    surgery.keep_inputs(layer, index)
                    found.insert(place - 1, (BlockSpec.make("select", len(index)), selected))
            return found

        assert network.genotype.input
        return surgery.rewritten(network, pruned, Task(network.genotype.input, len(classifier(network).weight)))


def _found(pairs: list[Pair]) -> list[tuple[int, nn.Conv2d]]:
    """The convolutions to prune in a sequence, with their places."""
    kinds = [spec.kind for spec, _ in pairs]
    after_norm = [place for place, two in enumerate(pairwise(kinds), 1) if two == ("norm_act", "conv")]
    layers = [(place, surgery.only(pairs[place][1], nn.Conv2d)) for place in after_norm]
    return [(place, layer) for place, layer in layers if layer.groups == 1]


def _dropped(layer: nn.Conv2d, share: float) -> int:
    return round(share * layer.in_channels)
