"""Surgery: what a training does to its network's structure, such as pruning. One file each in the folder surgeries."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from evaluators.training.augment import Parts
from evaluators.training.batches import Batches
from evaluators.training.recipe import SURGERIES
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import Network, Row, build
from search_spaces.schema import checked
from search_spaces.task import Task

Pair = tuple[BlockSpec, nn.Module]
Change = Callable[[list[Pair]], list[Pair]]
_S = TypeVar("_S")
_L = TypeVar("_L", bound=nn.Module)


class Surgery(Generic[_S]):
    """Base of surgeries; this one changes nothing.

    A training opens a genotype, attaches the surgery to its network, calls `before` and `after` around each optimizer step, and
    closes the network at its end. Progress is a share of the training's steps, 0 to 1. A surgery's whole state is in `masks`.
    """

    def __init__(self, settings: _S) -> None:
        self._settings = settings
        self.masks: dict[str, Tensor] = {}

    def opened(self, genotype: Genotype) -> Genotype:
        """The genotype to train, in order to get `genotype`."""
        return genotype

    def attach(self, network: Network) -> None:
        """Finds the modules to change in the opened network; raises InputError if there are none, or nothing would be left."""

    def before(self, network: Network, progress: float) -> None:
        """Changes masks, or parameters, before the optimizer step at `progress`."""

    def penalty(self, logits: Tensor, parts: Parts, progress: float) -> Tensor:
        """A scalar to add to the loss of a batch: its logits [N, classes], and the shares of its labels [N]."""
        return logits.new_zeros(())

    def after(self, network: nn.Module) -> None:
        """Applies the masks to a network after an optimizer step, in place. Also called on the averaged network."""

    def closed(self, network: Network) -> Network:
        """The network without what was masked, with its own genotype and the same outputs. `network` is used up."""
        return network

    def found(self, network: Network, test: Batches) -> dict[str, float]:
        """Figures about the closed network, and the test images, for the training's result, by name."""
        return {}


def surgery_of(asked: Mapping[str, Any] | None) -> Surgery[Any] | None:
    """The surgery that a recipe asks for, or None; raises InputError for unknown names and wrong settings."""
    if asked is None:
        return None
    settings = dict(asked)
    module = SURGERIES.load(settings.pop("kind"))
    made: Surgery[Any] = module.Surgery(checked(module.Settings, settings, "surgery"))
    return made


def check_surgery(asked: Mapping[str, Any] | None, genotype: Genotype, task: Task) -> None:
    """Raises InputError if a recipe's surgery cannot change the genotype's network."""
    if surgery := surgery_of(asked):
        with torch.device("meta"):
            surgery.attach(build(surgery.opened(genotype), task))


def sequences(network: Network) -> Iterator[list[Pair]]:
    """Every sequence of blocks of a network, outermost first: specs with their modules."""
    yield from _sequences(list(zip(network.genotype.blocks, network.blocks, strict=True)))


def _sequences(pairs: list[Pair]) -> Iterator[list[Pair]]:
    yield pairs
    for spec, module in pairs:
        for branch, row in zip(spec.branches, rows(module), strict=bool(spec.branches)):
            yield from _sequences(list(zip(branch, row.blocks, strict=True)))


def rows(module: nn.Module) -> list[Row]:
    """The branches of a block; empty if it has none."""
    children = list(module.children())
    listed = [inner for child in children if isinstance(child, nn.ModuleList) for inner in child]
    return [child for child in (*children, *listed) if isinstance(child, Row)]


def rewritten(network: Network, change: Change, task: Task) -> Network:
    """A network in which `change` has replaced every sequence of blocks, innermost first, with the modules' tensors.

    Raises RuntimeError if the tensors are not those of the new genotype's network.
    """
    blocks = _rewritten(list(zip(network.genotype.blocks, network.blocks, strict=True)), change)
    genotype = Genotype.of([spec for spec, _ in blocks], network.genotype.input)
    found = build(genotype, task).to(next(network.parameters()).device)
    found.load_state_dict(Network([module for _, module in blocks], genotype).state_dict())
    return found.train(network.training)


def _rewritten(pairs: list[Pair], change: Change) -> list[Pair]:
    inner = []
    for spec, module in pairs:
        branches = []
        for branch, row in zip(spec.branches, rows(module), strict=bool(spec.branches)):
            blocks = _rewritten(list(zip(branch, row.blocks, strict=True)), change)
            row.blocks = nn.ModuleList(block for _, block in blocks)
            branches.append([spec for spec, _ in blocks])
        knobs = dict(spec.knobs)
        inner.append((BlockSpec.make(spec.kind, spec.width, spec.stride, knobs, branches) if branches else spec, module))
    return change(inner)


def only(module: nn.Module, kind: type[_L]) -> _L:
    """The single layer of a type in a module."""
    (found,) = (layer for layer in module.modules() if isinstance(layer, kind))
    return found


def keep_inputs(layer: nn.Conv2d | nn.Linear, index: Tensor) -> None:
    """Reduces a layer to the input channels in `index`, in place."""
    layer.weight = nn.Parameter(layer.weight.detach()[:, index].clone())


def keep_channels(norm: nn.BatchNorm2d, index: Tensor) -> None:
    """Reduces a batch norm to the channels in `index`, which may repeat, in place."""
    norm.weight, norm.bias = (nn.Parameter(tensor.detach()[index].clone()) for tensor in (norm.weight, norm.bias))
    norm.running_mean, norm.running_var = (cast(Tensor, t)[index].clone() for t in (norm.running_mean, norm.running_var))


def names_of(network: nn.Module) -> dict[nn.Module, str]:
    """The name of each module in a network."""
    return {module: name for name, module in network.named_modules()}


@torch.no_grad()
def zero_inputs(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets weights to zero in place: each mask, by the module's name, is 0 for weights to drop and broadcasts over them."""
    for name, mask in masks.items():
        cast(nn.Conv2d, network.get_submodule(name)).weight.mul_(mask)


def none_found(what: str, network: Network, specs: Sequence[str]) -> InputError:
    """The error for a network without the layers that a surgery changes."""
    kinds = ", ".join(sorted({spec.kind for pairs in sequences(network) for spec, _ in pairs}))
    return InputError(f"the recipe's surgery {what} changes {' and '.join(specs)}, which this network lacks; it has {kinds}")
