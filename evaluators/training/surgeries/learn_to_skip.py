"""learn_to_skip: gates of `gated` blocks learn with supervision first, then by a reward for skipping, as in SkipNet."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.cost import cost
from evaluators.dynamic import expected_macs, gated_blocks
from evaluators.training import surgery
from evaluators.training.augment import Parts
from evaluators.training.batches import Batches
from evaluators.training.lean import at_once
from search_spaces.blocks.gated import Gated
from search_spaces.genotype import Genotype
from search_spaces.network import Network, classifier
from search_spaces.schema import FromZero, Share, strict

_TIMED = 200  # images


@strict
@dataclass(frozen=True)
class Settings:
    """From the progress `since` on, gates learn by reward with `alpha` for skipping; `weight` scales their loss."""

    alpha: FromZero
    since: Share
    weight: FromZero


class Surgery(surgery.Surgery[Settings]):
    """Hybrid reinforcement learning of SkipNet (arXiv:1711.09485, section 3.3).

    Before `since`, gates decide hard and learn softly (straight-through). From then on, decisions are drawn, and gate i learns
    by REINFORCE with the reward -L + alpha / N sum_{j >= i} (1 - g_j) C_j, where L is the image's cross-entropy, N the number
    of gates, and C_j the MACs of block j over their mean. The mean reward of the batch is subtracted. The rest of the network
    learns by L.
    """

    def attach(self, network: Network) -> None:
        self._gated = _gated(network)
        if not self._gated:
            raise surgery.none_found("learn_to_skip", network, ["gated blocks"])
        costs = torch.tensor(_skippable(network.genotype, len(classifier(network).weight)))
        self._costs = (costs / costs.mean()).to(next(network.parameters()).device)

    def before(self, network: Network, progress: float) -> None:
        for gated in self._gated:
            gated.explores = progress >= self._settings.since

    def penalty(self, logits: Tensor, parts: Parts, progress: float) -> Tensor:
        if progress < self._settings.since:
            return logits.new_zeros(())
        policies = [gated.policy for gated in self._gated]
        for gated in self._gated:
            gated.policy = None
        chances, runs = (torch.cat([policy[i] for policy in policies if policy], 1).float() for i in (0, 1))
        losses = torch.stack([share * F.cross_entropy(logits, labels, reduction="none") for share, labels in parts]).sum(0)
        saved = ((1 - runs) * self._costs).flip(1).cumsum(1).flip(1)
        reward = self._settings.alpha / len(self._costs) * saved - losses.detach()[:, None]
        return -self._settings.weight * ((reward - reward.mean(0)) * chances).mean(0).sum()

    def closed(self, network: Network) -> Network:
        self.before(network, -1.0)
        return network

    @torch.no_grad()
    def found(self, network: Network, test: Batches) -> dict[str, float]:
        """MACs and milliseconds of test images, each by itself: mean, percentiles, and with every block run.

        Times are torch's for one image, which skips; the exported ONNX file computes every block.
        """
        network.eval()
        costs = np.array(_skippable(network.genotype, len(classifier(network).weight)))
        worst = cost(network.genotype, network.genotype.task(len(classifier(network).weight))).macs
        macs = worst - (1 - _decisions(network, test)) @ costs
        found = {"macs_mean": float(macs.mean()), "macs_max": float(macs.max()), "macs_every_block": float(worst)}
        found |= {f"macs_p{p}": float(np.percentile(macs, p)) for p in (50, 90)}
        return found | _milliseconds(network, test)


def _gated(network: Network) -> list[Gated]:
    return [module for module in network.modules() if isinstance(module, Gated)]


def _skippable(genotype: Genotype, classes: int) -> list[float]:
    """MACs of each gated block's body."""
    count, task = gated_blocks(genotype), genotype.task(classes)
    worst = cost(genotype, task).macs
    return [worst - expected_macs(genotype, task, [float(i != skipped) for i in range(count)]) for skipped in range(count)]


def _decisions(network: Network, test: Batches) -> np.ndarray:
    """[N, gates]: 1 if the block ran."""
    found = []
    for images, _ in test.in_order(at_once(test.preprocessing.input, test.labels.device)):
        network(images)
        found.append(torch.cat([gated.decisions for gated in _gated(network) if gated.decisions is not None], 1))
    return torch.cat(found).cpu().numpy()


def _milliseconds(network: Network, test: Batches) -> dict[str, float]:
    images, _ = test.few(min(_TIMED, len(test)))
    times = []
    for image in images.split(1):
        start = perf_counter()
        network(image)
        times.append(1000 * (perf_counter() - start))
    return {"timed_images": len(times), **{f"torch_ms_p{p}": float(np.percentile(times, p)) for p in (50, 90)}}
