"""begin: a new network at the start of its fine-tuning, with what it inherits from a donor and a linear probe as its head."""

from dataclasses import dataclass
from time import perf_counter

from evaluators.inheritance.donor import Donor
from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import estimate_statistics, unit_variance
from evaluators.training.batches import Pictures
from evaluators.training.probe import begin_head, probe
from evaluators.training.recipe import Metric
from search_spaces.network import Network

_SEEN = 128  # images that batch-norm statistics are estimated on
_PROBED = 500  # images that the probe is fitted to, at most


@dataclass(frozen=True)
class Start:
    """What a network is before its first epoch.

    `share` of its parameters, the classifier left out, come from the donor; `accuracy` (0..1) is that of the linear probe by
    leave-one-out on training images; `seconds` is what all of it took.
    """

    share: float
    accuracy: float
    seconds: float


def begin(network: Network, donor: Donor, train: Pictures, seed: int, metric: Metric = "top1") -> Start:
    """Brings a newly built network to the start of its fine-tuning, in place; `train` are images as it will see them."""
    start = perf_counter()
    share = inherit(network, donor, seed).share
    images, _ = train.few(_SEEN)
    if donor.folded:
        unit_variance(network, images)
    estimate_statistics(network, images)
    found = probe(network, train, most=_PROBED)
    begin_head(network, found)
    return Start(share, getattr(found.scores, metric), perf_counter() - start)
