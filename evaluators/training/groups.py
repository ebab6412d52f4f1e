"""The optimizer of a recipe: parameter groups with their learning rates and weight decay."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from evaluators.training.recipe import Recipe
from search_spaces.network import Network, classifier


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, with a parameter group per learning rate; weight decay only on weights of conv and linear layers.

    `network` must be a Network if the recipe has a `layer_decay`.
    """
    rates, groups = _rates(network, recipe), dict[tuple[float, bool], list[nn.Parameter]]()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            groups.setdefault((rates.get(parameter, 1.0), decays), []).append(parameter)
    batch = recipe.batch_size / 128 if recipe.optimizer == "sgd" else 1.0
    return _optimizer(
        [
            {
                "params": parameters,
                "lr": recipe.learning_rate * batch * rate,
                "weight_decay": recipe.weight_decay if decays else 0.0,
            }
            for (rate, decays), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
        ],
        recipe,
    )


def _optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def _rates(network: nn.Module, recipe: Recipe) -> dict[nn.Parameter, float]:
    """Learning rates as multiples of the recipe's, for parameters where it is not 1."""
    rates = dict(_stage_rates(network, recipe.layer_decay)) if recipe.layer_decay < 1 else {}
    return rates | dict.fromkeys(classifier(network).parameters(), recipe.head_rate)


def _stage_rates(network: nn.Module, decay: float) -> Iterator[tuple[nn.Parameter, float]]:
    """Layer-wise decay by stage: each stage of consecutive blocks at one resolution has `decay` times the next one's rate."""
    assert isinstance(network, Network)
    stages = list(accumulate(int(spec.stride > 1) for spec in network.genotype.blocks))
    for stage, block in zip(stages, network.blocks, strict=True):
        for parameter in block.parameters():
            yield parameter, decay ** (stages[-1] - stage)
