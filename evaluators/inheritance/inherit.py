"""inherit: fills a network with a donor's weights by parameter remapping between genotypes (FNA, arXiv:2001.02525)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from evaluators.inheritance.bottleneck import Ends, fill_bottleneck
from evaluators.inheritance.channels import Channels, Colours, Mixed, Reader
from evaluators.inheritance.donor import Donor
from evaluators.inheritance.filling import Filling
from evaluators.inheritance.matching import IMAGE, Layout, Partner, Place, alike, goals, partners
from evaluators.inheritance.parts import Layer, parts_of
from search_spaces.genotype import BlockSpec
from search_spaces.network import Network, classifier
from search_spaces.ops.norm_act import Layers

_FREE_KNOBS = ("act",)


@dataclass(frozen=True, eq=False)
class Goal:
    """The donor block whose output a block should reproduce, and which of its channels."""

    block: int
    channels: Channels


@dataclass(frozen=True, eq=False)
class Inherited:
    """The inherited share of a network's parameters, in total and by block, without the classifier.

    Zero-padding of kernels, gates that the donor lacks, and scales reset to zero do not count as inherited. A block without
    parameters has share 1. `goals` are by block index, for blocks that have one.
    """

    share: float
    by_block: tuple[float, ...]
    goals: Mapping[int, Goal]


def inherit(network: Network, donor: Donor, seed: int) -> Inherited:
    """Fills a network made by `build`, for any input and number of classes, in place.

    Channels are selected by importance, kernels cropped, blocks dropped. Wider or deeper networks, larger kernels and added
    squeeze-and-excitation preserve the function (Net2Net, arXiv:1511.05641); `seed` is for splitting weights between copies.
    Blocks without a counterpart and the classifier keep their weights. Batch-norm statistics are the donor's, which are right
    only where the function is preserved: see statistics.estimate_statistics.
    """
    remapping = _Remapping(network, donor, seed)
    inherited = [remapping.fill(place) for place in remapping.ours.places] + [remapping.fill_head()]
    sizes = [sum(p.numel() for p in block.parameters()) for block in network.blocks]
    sizes[-1] -= sum(p.numel() for p in classifier(network).parameters())
    shares = [count / size if size else 1.0 for count, size in zip(inherited, sizes, strict=True)]
    return Inherited(sum(inherited) / max(sum(sizes), 1), tuple(shares), remapping.goals())


class _Remapping:
    """The state of one remapping: both layouts, the donor run that current features correspond to, channels chosen so far."""

    def __init__(self, network: Network, donor: Donor, seed: int) -> None:
        ours, theirs = alike(network.genotype, donor.genotype)
        self.network, self.donor = network, _reading(donor)
        self.ours = Layout.of(ours, _image_channels(network))
        self.theirs = Layout.of(theirs, donor.task.input[0])
        self.partners = partners(self.ours, self.theirs)
        self.draws = torch.Generator().manual_seed(seed)
        self.eps = donor.norm_eps
        self.holds: int | None = IMAGE  # the donor run that the last block's outputs correspond to, if any
        self._chosen: dict[tuple[int, int], Channels] = {}

    def fill(self, place: Place) -> int:
        """Fills the next block; returns the number of inherited parameters."""
        partner = self.partners.get(place.index)
        if place.passes or partner is None:
            self.holds = self.holds if place.passes else None
            return 0
        theirs, filling = self.theirs.places[partner.index], Filling(self.eps, self.draws)
        done = self._fill(place, theirs, partner, filling)
        self.holds = theirs.writes if done else None
        return filling.inherited

    def _fill(self, place: Place, theirs: Place, partner: Partner, filling: Filling) -> bool:
        block, source = self.network.blocks[place.index], self.donor.blocks[partner.index]
        ours, sources = parts_of(block), parts_of(source)
        if ours is None or sources is None:
            return _copied(filling, place.spec, theirs.spec, block, source)
        inputs, reader = self._channels(theirs.reads, place.reads), self._reader(theirs.reads, place.reads)
        fill_bottleneck(filling, ours, sources, Ends(inputs, reader, self._channels(theirs.writes, place.writes)))
        if partner.beyond and _adds(block):
            filling.silence(ours.project.norm)
        return True

    def fill_head(self) -> int:
        """Fills the head's hidden layers if all sizes match the donor's; returns the number of inherited parameters."""
        filling = Filling(self.eps, self.draws)
        ours, theirs = self.network.blocks[-1], self.donor.blocks[-1]
        hidden, sources = _hidden(ours), _hidden(theirs)
        if (ours.size, _units(hidden)) != (theirs.size, _units(sources)):
            return 0
        for number, (layer, source) in enumerate(zip(hidden, sources, strict=True)):
            weight = _matrix(source)
            if number == 0:
                reader = self._reader(self.theirs.last, self.ours.last)
                weight = reader.columns(weight.unflatten(1, (self.theirs.widths[-1], -1)), self.draws).flatten(1)
            _fill_hidden(filling, layer, source, weight)
        return filling.inherited

    def goals(self) -> dict[int, Goal]:
        """The goals of the blocks, filled or not, by index."""
        found = goals(self.ours, self.theirs, self.partners).items()
        places = {place.index: place.writes for place in self.ours.places}
        return {i: Goal(j, self._channels(self.theirs.places[j].writes, places[i])) for i, j in found}

    def _channels(self, theirs: int, ours: int) -> Channels:
        """The mapping from the donor's run `theirs` to our run `ours`; cached, so that it is the same everywhere."""
        if (theirs, ours) not in self._chosen:
            self._chosen[theirs, ours] = Channels.choose(self._importance(theirs), self.ours.widths[ours], self.draws)
        return self._chosen[theirs, ours]

    def _reader(self, theirs: int, ours: int) -> Reader:
        """How a layer that read the donor's run `theirs` reads our run `ours`.

        If ours corresponds to an earlier run, the dropped blocks in between are approximated as linear.
        """
        if ours == theirs == IMAGE and self.ours.widths[IMAGE] != self.theirs.widths[IMAGE]:
            return Colours(self.ours.widths[IMAGE])
        if self.holds is not None and self.holds < theirs and (matrix := self._skipped(self.holds, theirs)) is not None:
            return Mixed(self._channels(self.holds, ours), matrix)
        return self._channels(theirs, ours)

    def _skipped(self, start: int, end: int) -> Tensor | None:
        """The linear map from the donor's run `start` to `end`, [channels of end, channels of start]; None if there is none."""
        matrix = torch.eye(self.theirs.widths[start])
        for place in self.theirs.places:
            block = self.donor.blocks[place.index]
            if start < place.writes <= end and not place.passes and not _adds(block):
                if (parts := parts_of(block)) is None:
                    return None
                matrix = parts.linear_map @ matrix
        return matrix

    def _importance(self, run: int) -> Tensor:
        """Importance of a donor run's channels: standard deviation times L1 norm of the weights that read them."""
        variance, read = torch.zeros(2, self.theirs.widths[run])
        for place in self.theirs.places:
            parts = parts_of(self.donor.blocks[place.index])
            if parts is not None and place.writes == run:
                variance += parts.project.outputs.deviation.square()
            if parts is not None and place.reads == run:
                read += parts.reading.column_norms
        if run == self.theirs.last:
            first = next(m for m in self.donor.blocks[-1].modules() if isinstance(m, nn.Linear | nn.Conv2d))
            read += first.weight.detach().abs().flatten(1).sum(0).unflatten(0, (len(read), -1)).sum(1)
        return variance.sqrt() * (read if read.any() else 1.0)


@lru_cache(maxsize=1)
def _reading(donor: Donor) -> Network:
    """The donor's network, cached; do not modify it."""
    return donor.network()


def _image_channels(network: Network) -> int:
    """The number of image channels of a network."""
    return next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))


def _adds(block: nn.Module) -> bool:
    return bool(getattr(block, "adds", False))


def _copied(filling: Filling, ours: BlockSpec, theirs: BlockSpec, block: nn.Module, source: nn.Module) -> bool:
    """Copies a block of equal width and knobs, regardless of the activation; returns whether that was possible."""
    same = ours.branches == theirs.branches and _essence(ours) == _essence(theirs)
    if not same or _shapes(block) != _shapes(source):
        return False
    filling.copy(block, source)
    return True


def _essence(spec: BlockSpec) -> tuple[object, ...]:
    return spec.kind, spec.width, {name: value for name, value in spec.arguments().items() if name not in _FREE_KNOBS}


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _hidden(head: nn.Module) -> list[nn.Linear | Layer]:
    """The hidden layers of a head: linear, or pointwise convolutions with batch norm."""
    found = [m for m in cast(nn.Sequential, head.classifier) if isinstance(m, nn.Linear | Layers)]
    return [Layer.of(m) if isinstance(m, Layers) else m for m in found[:-1]]


def _units(hidden: list[nn.Linear | Layer]) -> list[tuple[type, int]]:
    return [(type(layer), len(_matrix(layer))) for layer in hidden]


def _matrix(layer: nn.Linear | Layer) -> Tensor:
    """The layer's weights [out, in]."""
    return layer.weight.detach().flatten(1)


def _fill_hidden(filling: Filling, layer: nn.Linear | Layer, source: nn.Linear | Layer, weight: Tensor) -> None:
    if isinstance(layer, nn.Linear) and isinstance(source, nn.Linear):
        filling.linear(layer, source, weight)
    elif isinstance(layer, Layer) and isinstance(source, Layer):
        filling.layer(layer, source, weight[:, :, None, None], Channels.all(len(weight)))
