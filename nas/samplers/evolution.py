"""Regularised evolution (Real et al., arXiv:1802.01548): mutates a tournament winner among the latest trials."""

from collections.abc import Mapping
from itertools import islice

import optuna

from nas.run.trials import Trials
from nas.samplers.common.genes import GeneSampler
from nas.samplers.common.pool import Pool
from search_spaces.registry import Value

_POPULATION, _TOURNAMENT = 24, 8  # for tens to hundreds of trials; the paper uses 100 and 25 for thousands
_STARTUP = 12  # initial random trials, including anchors inside the space


class Evolution(GeneSampler):
    """Mutates one gene of the winner of a tournament among the latest trained trials."""

    def propose(self, seen: Trials, cost: str | None) -> Mapping[str, Value]:
        usable = (s for s in reversed(seen) if s.outcome in ("trained", "stopped") and s.genes)
        alive = list(islice(usable, _POPULATION))[::-1]
        if len(alive) < _STARTUP:
            return {}
        rivals = self._rng.sample(alive, min(_TOURNAMENT, len(alive)))
        parent = max(rivals, key=lambda s: (len(s.accuracies), s.accuracies[-1]))
        return self._pool.mutate(parent.genes, 1, self._rng).genes


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Evolution(pool, seed)
