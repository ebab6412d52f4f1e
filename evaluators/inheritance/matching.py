"""Matches blocks of a network to blocks of a donor by resolution and position; uses genotypes only, no weights.

A run is a sequence of blocks of equal width that share channels through identities. A conv block always starts a new run;
poolings continue the run that they read.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from search_spaces.genotype import BlockSpec, Genotype

IMAGE = 0  # the run of the image's channels
_PASSING = ("avg_pool", "dropout", "identity", "lrn", "max_pool")
_FAMILIES = {"fused": "inverted_residual"}


@dataclass(frozen=True)
class Place:
    """A block in its network: its index, the runs that it reads and writes, and the overall stride at its output."""

    index: int
    spec: BlockSpec
    reads: int
    writes: int
    resolution: int
    passes: bool

    @property
    def family(self) -> str:
        """The block kind; all inverted bottlenecks are one family."""
        return _FAMILIES.get(self.spec.kind, self.spec.kind)


@dataclass(frozen=True)
class Layout:
    """The places of all blocks except the head, and the width of each run (run 0 is the image)."""

    places: tuple[Place, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, genotype: Genotype, channels: int) -> "Layout":
        """The layout of a network for images with `channels` channels."""
        places: list[Place] = []
        widths, resolution = [channels], 1
        for index, spec in enumerate(genotype.blocks[:-1]):
            width, reads = spec.out_width(widths[-1]), len(widths) - 1
            resolution *= spec.stride
            passes = spec.kind in _PASSING and width == widths[-1]
            if not passes and (spec.stride > 1 or width != widths[-1] or spec.kind == "conv" or reads == IMAGE):
                widths.append(width)
            places.append(Place(index, spec, reads, len(widths) - 1, resolution, passes))
        return cls(tuple(places), tuple(widths))

    @property
    def last(self) -> int:
        """The run that the head reads."""
        return len(self.widths) - 1


@dataclass(frozen=True)
class Partner:
    """The donor block that a block inherits from; `beyond` the donor's depth, it is the last block of the run."""

    index: int
    beyond: bool


def alike(network: Genotype, donor: Genotype) -> tuple[Genotype, Genotype]:
    """Both genotypes at the smaller of their overall strides: first strides of the other are removed."""
    overall = min(math.prod(spec.stride for spec in genotype.blocks) for genotype in (network, donor))
    return network.at_stride(overall), donor.at_stride(overall)


def partners(network: Layout, donor: Layout) -> dict[int, Partner]:
    """The donor block for each block of the network that has a counterpart.

    At each resolution, runs of a family are paired in order, and blocks within runs in order. If the donor has fewer runs,
    further runs continue with the blocks of its last one.
    """
    theirs = _by_family(donor.places)
    found: dict[int, Partner] = {}
    for key, runs in _by_family(network.places).items():
        if key in theirs:
            found |= dict(_paired(runs, theirs[key]))
    return found


def _by_family(places: Iterable[Place]) -> dict[tuple[int, str], list[list[Place]]]:
    """The runs at each resolution and of each family, in order."""
    found: dict[tuple[int, str], list[list[Place]]] = {}
    for (resolution, family, _), run in groupby(places, key=lambda p: (p.resolution, p.family, p.writes)):
        found.setdefault((resolution, family), []).append(list(run))
    return found


def _paired(runs: list[list[Place]], theirs: list[list[Place]]) -> Iterator[tuple[int, Partner]]:
    used = 0
    for number, run in enumerate(runs):
        source = theirs[min(number, len(theirs) - 1)]
        used = used if number >= len(theirs) else 0
        for place in run:
            yield place.index, Partner(source[min(used, len(source) - 1)].index, used >= len(source))
            used += 1


def goals(network: Layout, donor: Layout, found: dict[int, Partner]) -> dict[int, int]:
    """For each block of the network, the donor block whose output it should reproduce, if any.

    A run corresponds to the donor run that its blocks inherit from, else to the one that a later block reads in its place, else
    to the donor's last run at its resolution. Its last block corresponds to the last of that run, which makes up for dropped
    blocks; others to their own partner, or to the block at the same position.
    """
    runs, blocks = _runs_stood_for(network, donor, found), _blocks_of_runs(donor)
    stands: dict[int, int] = {}
    for run, places in _blocks_of_runs(network).items():
        theirs = blocks.get(runs.get(run, IMAGE), [])
        for number, place in enumerate(places if theirs else []):
            partner = found.get(place.index)
            own = partner.index if partner and partner.index in {t.index for t in theirs} else None
            last = place is places[-1]
            stands[place.index] = theirs[-1 if last else min(number, len(theirs) - 1)].index if last or own is None else own
    return stands


def _runs_stood_for(network: Layout, donor: Layout, found: dict[int, Partner]) -> dict[int, int]:
    at_resolution = {place.resolution: place.writes for place in donor.places}
    runs = {p.writes: at_resolution[p.resolution] for p in network.places if p.resolution in at_resolution}
    partnered = [(p, donor.places[found[p.index].index]) for p in network.places if p.index in found and not p.passes]
    runs |= {ours.reads: theirs.reads for ours, theirs in partnered}
    return runs | {ours.writes: theirs.writes for ours, theirs in partnered}


def _blocks_of_runs(layout: Layout) -> dict[int, list[Place]]:
    """The blocks that write each run, in order."""
    found: dict[int, list[Place]] = {}
    for place in layout.places:
        if not place.passes:
            found.setdefault(place.writes, []).append(place)
    return found
