"""condense: learns which inputs each group of a pointwise convolution reads, as in CondenseNet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from evaluators.training import surgery
from evaluators.training.augment import Parts
from search_spaces.blocks.select import Select
from search_spaces.genotype import Blocks, BlockSpec, Genotype
from search_spaces.network import Network, build, classifier
from search_spaces.schema import FromZero, strict
from search_spaces.task import Task


@strict
@dataclass(frozen=True)
class Settings:
    """Condensation ends at the progress `until`; before, the loss has `lasso` times the group lasso of these convolutions."""

    until: Annotated[float, Field(gt=0, le=1)]
    lasso: FromZero


class _Learnt(NamedTuple):
    """A dense layer whose inputs are condensed: outputs o with equal o % `groups` share `keeps` inputs, after `times` drops."""

    groups: int
    keeps: int
    times: int


class _Aligned(NamedTuple):
    """A block of the closed network with the blocks that it is trained as: two for lgc, the head for a learnt select."""

    spec: BlockSpec
    closed: nn.Module
    opened: Sequence[nn.Module]


class Surgery(surgery.Surgery[Settings]):
    """Trains `lgc` blocks from their dense form: norm_act and a pointwise convolution that reads every channel.

    With `condense=C`, groups drop inputs at each of C - 1 equally spaced times, until 1/C are left: those with the smallest L1
    norm of the group's weights. The group lasso sums the L2 norms over a group's outputs, for each input. A `select` before the
    head is learnt too: the classifier drops its inputs with the smallest L1 norm when condensation ends.
    arXiv:1711.09224, ShichenLiu/CondenseNet layers.py.
    """

    def opened(self, genotype: Genotype) -> Genotype:
        self._asked = genotype
        return Genotype.of(_opened(genotype.blocks), genotype.input)

    def attach(self, network: Network) -> None:
        names = surgery.names_of(network)
        with torch.device("meta"):
            aligned = list(_aligned(self._asked.blocks, self._skeleton(network).blocks, list(network.blocks)))
        self._layers = {names[layer]: (layer, learnt) for layer, learnt in map(_learnt, aligned) if learnt and layer}
        if not self._layers:
            raise surgery.none_found("condense", network, ["lgc blocks"])
        self.masks = {name: torch.ones_like(layer.weight) for name, (layer, _) in self._layers.items()}

    def before(self, network: Network, progress: float) -> None:
        for name, (layer, learnt) in self._layers.items():
            mask, inputs = self.masks[name], layer.weight.shape[1]
            due = int(min(1.0, progress / self._settings.until) * learnt.times)
            left = inputs - (inputs - learnt.keeps) * due // learnt.times
            if int(mask[0].flatten().sum()) > left:
                self.masks[name] = _strongest(layer.weight.detach() * mask, learnt.groups, left)
        self.after(network)

    def penalty(self, logits: Tensor, parts: Parts, progress: float) -> Tensor:
        if progress >= self._settings.until or not self._settings.lasso:
            return logits.new_zeros(())
        convolutions = [pair for pair in self._layers.values() if isinstance(pair[0], nn.Conv2d)]
        squares = [_by_group(layer.weight.square(), learnt.groups) for layer, learnt in convolutions]
        return self._settings.lasso * torch.stack([square.clamp(min=1e-20).sqrt().sum() for square in squares]).sum()

    def after(self, network: nn.Module) -> None:
        surgery.zero_inputs(network, self.masks)

    @torch.no_grad()
    def closed(self, network: Network) -> Network:
        names = surgery.names_of(network)
        found = self._skeleton(network).to(next(network.parameters()).device)
        for block in _aligned(self._asked.blocks, found.blocks, list(network.blocks)):
            layer, learnt = _learnt(block)
            if layer is None or learnt is None:
                block.closed.load_state_dict(block.opened[0].state_dict())
                continue
            index = _read(self.masks[names[layer]], learnt.groups)
            block.closed.index.copy_(index.flatten())  # type: ignore[operator, union-attr]
            if block.spec.kind == "lgc":
                _close_groups(block, layer.weight, index)
            else:
                surgery.keep_inputs(layer, index.flatten())  # the head, which comes next, is copied as it then is
        return found.train(network.training)

    def _skeleton(self, network: Network) -> Network:
        """The closed network, untrained."""
        assert self._asked.input
        return build(self._asked, Task(self._asked.input, len(classifier(network).weight)))


def _opened(blocks: Blocks) -> list[BlockSpec]:
    found = []
    for place, spec in enumerate(blocks):
        if spec.kind == "lgc":
            dense = BlockSpec.make("conv", spec.width, 1, {"kernel": 1, "act": "none", "norm": False})
            found += [BlockSpec.make("norm_act"), dense]
        elif spec.branches:
            found.append(BlockSpec.make(spec.kind, None, 1, dict(spec.knobs), [_opened(branch) for branch in spec.branches]))
        elif not _is_learnt_select(blocks, place):
            found.append(spec)
    return found


def _is_learnt_select(blocks: Blocks, place: int) -> bool:
    return blocks[place].kind == "select" and place == len(blocks) - 2 and blocks[-1].kind == "head"


def _aligned(blocks: Blocks, closed: Iterable[nn.Module], opened: Sequence[nn.Module]) -> Iterator[_Aligned]:
    """Every block without branches of a closed network, with the opened network's."""
    rest = iter(opened)
    for place, (spec, module) in enumerate(zip(blocks, closed, strict=True)):
        if spec.branches:
            rows = zip(spec.branches, surgery.rows(module), surgery.rows(next(rest)), strict=True)
            for branch, closed_row, opened_row in rows:
                yield from _aligned(branch, closed_row.blocks, list(opened_row.blocks))
        elif _is_learnt_select(blocks, place):
            yield _Aligned(spec, module, [opened[-1]])
        else:
            yield _Aligned(spec, module, [next(rest) for _ in range(1 + (spec.kind == "lgc"))])


def _learnt(block: _Aligned) -> tuple[nn.Linear | nn.Conv2d | None, _Learnt | None]:
    """The dense layer of which a block is condensed, if any."""
    spec, index = block.spec, cast(Tensor, getattr(block.closed, "index", torch.empty(0)))
    if spec.kind == "lgc":
        groups, condense = cast(int, block.closed.groups), cast(int, spec.knob("condense"))
        return surgery.only(block.opened[1], nn.Conv2d), _Learnt(groups, len(index) // groups, max(1, condense - 1))
    if spec.kind == "select" and not isinstance(block.opened[0], Select):
        layer = classifier(block.opened[0])
        return layer, _Learnt(1, min(len(index), layer.weight.shape[1]), 1)
    return None, None


def _by_group(values: Tensor, groups: int) -> Tensor:
    """Sums of values [O, I] or [O, I, 1, 1] over the outputs of each group: [groups, I]."""
    return values.view(-1, groups, values.shape[1]).sum(0)


def _strongest(weight: Tensor, groups: int, left: int) -> Tensor:
    """The mask, in the weight's shape, of the `left` inputs of each group with the largest L1 norm."""
    best = _by_group(weight.abs(), groups).argsort(dim=1, descending=True, stable=True)[:, :left]
    mask = torch.zeros(groups, weight.shape[1], device=weight.device).scatter_(1, best, 1.0)
    return mask.repeat(len(weight) // groups, 1).view(*weight.shape[:2], *[1] * (weight.dim() - 2))


def _read(mask: Tensor, groups: int) -> Tensor:
    """[groups, inputs that are left]: what each group of a masked weight reads, ascending."""
    return torch.stack([torch.nonzero(mask[group].flatten()).flatten() for group in range(groups)])


def _close_groups(block: _Aligned, weight: Tensor, index: Tensor) -> None:
    """Copies the norm of the inputs in `index` [groups, I] and the dense weight [O, c_in, 1, 1] of each group."""
    norm, own = (surgery.only(module, nn.BatchNorm2d) for module in (block.opened[0], block.closed))
    surgery.keep_channels(norm, index.flatten())
    own.load_state_dict(norm.state_dict())
    parts = [weight[group :: len(index)][:, inputs] for group, inputs in enumerate(index)]
    surgery.only(block.closed, nn.Conv2d).weight.copy_(torch.cat(parts))
