"""Beginnings: new networks at the start of their fine-tuning, with what they inherit from a donor and a probe as their head."""

from collections.abc import Container
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from evaluators.inheritance.donor import Donor
from evaluators.inheritance.imitation import imitate
from evaluators.inheritance.inherit import Inherited, inherit
from evaluators.inheritance.statistics import calibrated
from evaluators.training.batches import Batches
from evaluators.training.probe import begin_head, probe
from evaluators.training.recipe import Metric
from search_spaces.network import Network
from search_spaces.task import Input

_PROBED = 400  # images that the probe is fitted to, at most
_PIXELS = 2**20  # of the images that statistics and features are taken from; by their number no fewer or more than these
_FEWEST, _MOST = 40, 256
_INHERITED = 0.5  # of a block's parameters, from which it counts as the donor's


@dataclass(frozen=True)
class Start:
    """What a network is before its first epoch.

    `share` of its parameters, the classifier left out, come from the donor; `accuracy` (0..1) is that of the linear probe by
    leave-one-out on training images; `seconds` is what all of it took. The first `ready` blocks came from the donor, or were
    fitted to it.
    """

    share: float
    accuracy: float
    seconds: float
    ready: int


def ready_blocks(inherited: Inherited, imitated: Container[int]) -> int:
    """How many of a network's first blocks came from the donor, or were fitted to it."""
    of_donor = [share >= _INHERITED or index in imitated for index, share in enumerate(inherited.by_block)]
    return [*of_donor, False].index(False)


class Beginnings:
    """Brings networks to the start of their fine-tuning; what the donor makes of the images of one input is kept."""

    def __init__(self, donor: Donor, metric: Metric = "top1") -> None:
        self._donor, self._metric = donor, metric
        self._input: Input | None = None

    def begin(self, network: Network, train: Batches, seed: int) -> Start:
        """Fills a newly built network, in place; `train` are the images as it will see them.

        It inherits from the donor with the statistics of these images (inheritance.statistics.calibrated), its blocks imitate
        the donor's (inheritance.imitation), and its classifier begins as the linear probe.
        """
        start = perf_counter()
        self._see(train)
        inherited = inherit(network, self._at_home, seed)
        imitated = imitate(network, self._teacher, self._images, inherited.goals)
        found = probe(network, train, most=_PROBED)
        begin_head(network, found)
        ready = ready_blocks(inherited, imitated)
        return Start(inherited.share, getattr(found.scores, self._metric), perf_counter() - start, ready)

    def _see(self, train: Batches) -> None:
        """The donor on images of this input, unless that is the last one that it saw."""
        if self._input == train.preprocessing.input:
            return
        self._input = train.preprocessing.input
        _, height, width = self._input
        self._images: Tensor = train.few(min(_MOST, max(_FEWEST, _PIXELS // (height * width))))[0]
        self._at_home = calibrated(self._donor, self._images)
        self._teacher = self._at_home.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
