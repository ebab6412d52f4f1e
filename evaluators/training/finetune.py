"""Initialises networks for fine-tuning: inherited weights from a donor, and a linear probe as classifier."""

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

_PROBED = 400  # maximum number of images for the linear probe
_PIXELS = 2**20  # pixel budget for batch-norm statistics and features; the number of images is within the next two
_FEWEST, _MOST = 40, 256
_INHERITED = 0.5  # minimum inherited share of a block's parameters for it to count as the donor's


@dataclass(frozen=True)
class Start:
    """A network's state before its first epoch.

    `share` is the inherited share of its parameters, without the classifier; `accuracy` (0..1) is the linear probe's
    leave-one-out accuracy on training images; `seconds` is the time taken. The first `ready` blocks were inherited, or fitted
    to the donor.
    """

    share: float
    accuracy: float
    seconds: float
    ready: int


def ready_blocks(inherited: Inherited, imitated: Container[int]) -> int:
    """The number of leading blocks that were inherited, or fitted to the donor."""
    of_donor = [share >= _INHERITED or index in imitated for index, share in enumerate(inherited.by_block)]
    return [*of_donor, False].index(False)


class Beginnings:
    """Initialises networks for fine-tuning; caches the donor calibrated for one input."""

    def __init__(self, donor: Donor, metric: Metric = "top1") -> None:
        self._donor, self._metric = donor, metric
        self._input: Input | None = None

    def begin(self, network: Network, train: Batches, seed: int) -> Start:
        """Initialises a newly built network in place; `train` is the training set at the network's input.

        Weights are inherited from the donor calibrated on these images (inheritance.statistics.calibrated), blocks are fitted
        to the donor's (inheritance.imitation), and the classifier is set to the linear probe.
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
        """Calibrates the donor for this input, unless it is cached."""
        if self._input == train.preprocessing.input:
            return
        self._input = train.preprocessing.input
        _, height, width = self._input
        self._images: Tensor = train.few(min(_MOST, max(_FEWEST, _PIXELS // (height * width))))[0]
        self._at_home = calibrated(self._donor, self._images)
        self._teacher = self._at_home.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
