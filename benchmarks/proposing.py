"""What a proposal costs: processor time of asking the surrogate, trial after trial, in a search that trains nothing.

usage: python benchmarks/proposing.py [--space S] [--latency-budget MS] [--profile FILE.json] [--trials N] [--sampler S]
                                      [--proposals FILE]

One process, one thread. The space's anchors are trials too; accuracies are made up and follow from the genotype. A row is
printed for some of the trials: processor time of the question, the candidates among which the surrogate chose, blocks that were
met for the first time (tracing them is most of the first question); at last the median and the largest of the last fifty. The
profile may be of another machine. FILE gets the id of each proposal, to compare versions with `diff`.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluators.cost import _traced, cost
from evaluators.latency.device.profile import LOCAL
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.predict.predictor import Predictor
from evaluators.limits import Limits
from nas.budget.estimate import Estimate, uncovered
from nas.pipeline.study import Study
from nas.run.trials import Proposal
from nas.samplers import surrogate
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

_LAST = 50
_SHOWN = (0, 1, 2, 5, 10, 20, 50, 100, 150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--latency-budget", type=float, default=20.0)
    parser.add_argument("--profile", default=LOCAL)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--sampler", default="surrogate")
    parser.add_argument("--proposals", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    space = load_space(flags.space)
    profile = load_profile(flags.profile, anywhere=True)
    task, predictor = space.task(10), Predictor(profile, profile.calibration(space))

    def estimate(genotypes: Sequence[Genotype]) -> list[Estimate]:
        costs = [cost(genotype, task.of(genotype)) for genotype in genotypes]
        return [
            Estimate(p.ms, p.bound_ms, c.params, c.macs, p.extrapolated) if p else uncovered(c.params, c.macs)
            for p, c in zip(predictor.covered(genotypes, task), costs, strict=True)
        ]

    pools = _counted()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder) / "journal.log", space, estimate, Limits(flags.latency_budget), flags.sampler, seed=0)
        for anchor in space.reference_networks():
            _train(study, study.seed_anchor(anchor))
        seconds, ids = list[float](), list[str]()
        print(f"{'trial':>6}{'ms':>8}{'pool':>8}{'blocks':>8}")
        for number in range(flags.trials):
            met, start = _traced.cache_info().misses, time.process_time()
            proposal = study.ask()
            seconds.append(time.process_time() - start)
            if number in _SHOWN or number == flags.trials - 1:
                pool, blocks = pools[-1] if pools else 0, _traced.cache_info().misses - met
                print(f"{number:>6}{1e3 * seconds[-1]:>8.0f}{pool:>8}{blocks:>8}", flush=True)
            _train(study, proposal)
            ids.append(proposal.genotype.id if proposal else "")
    if flags.proposals:
        flags.proposals.write_text("".join(f"{id}\n" for id in ids))
    last = [1e3 * s for s in seconds[-_LAST:]]
    print(f"last {len(last)}: median {statistics.median(last):.0f} ms, largest {max(last):.0f} ms of processor time")


def _train(study: Study, proposal: Proposal | None) -> None:
    if proposal:
        study.report(proposal.number, 1, 0.5 + 0.3 * random.Random(proposal.genotype.id).random(), 1.0)
        study.complete(proposal.number, 1)


def _counted() -> list[int]:
    """The number of candidates in each of the surrogate's choices, as they are made."""
    counts: list[int] = []
    gain = surrogate._Gain.__init__

    def counted(self: Any, pool: Sequence[Any], *rest: Any, **named: Any) -> Any:
        counts.append(len(pool))
        return gain(self, pool, *rest, **named)

    surrogate._Gain.__init__ = counted  # type: ignore[method-assign]
    return counts


if __name__ == "__main__":
    main()
