"""How fast genotypes are costed, against torch's own FLOP counter, and costed and predicted by the thousand.

usage: python benchmarks/cost.py [--networks N] [--profile FILE.json] [--genotypes N]

Sampled genotypes of `mobile` at all its inputs, one thread, one process; drawing them is not counted. Batches of new genotypes
follow each other, so that it is seen how the rate grows as more of their blocks have been met; at last all of them come again.
A search meets most blocks often: the same is timed for the random part of its pool, and for crossings of it. The profile may be
of another machine.
"""

import argparse
import random
import time
from collections.abc import Callable
from itertools import islice

import torch
from torch.utils.flop_counter import FlopCounterMode

from evaluators.cost import cost
from evaluators.latency.device.profile import LOCAL
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.predict.predictor import Predictor
from nas.budget.estimate import uncovered
from nas.samplers.common.pool import Pool
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space
from search_spaces.task import Task

_BATCHES = 8
_POOL = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--profile", default=LOCAL)
    parser.add_argument("--genotypes", type=int, default=500, help="in a batch")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    space = load_space("mobile")
    task, rng = space.task(10), random.Random(0)
    cost(space.sample(rng), task)  # torch's first meta operations take two seconds, once
    _beside_torch([space.sample(rng) for _ in range(flags.networks)], task)
    profile = load_profile(flags.profile, anywhere=True)
    _as_a_search(Predictor(profile, profile.calibration(space)), space, task, _POOL)
    _by_the_thousand(Predictor(profile, profile.calibration(space)), space, task, flags.genotypes)


def _beside_torch(networks: list[Genotype], task: Task) -> None:
    def counted(genotype: Genotype) -> int:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            build(genotype, task).eval()(torch.empty(1, *task.of(genotype).input))
        return counter.get_total_flops() // 2

    first, ours = _seconds(lambda g: cost(g, task.of(g)).macs, networks)
    again, _ = _seconds(lambda g: cost(g, task.of(g)).macs, networks)
    torchs, theirs = _seconds(counted, networks)
    differing = sum(a != b for a, b in zip(ours, theirs, strict=True))
    print(f"{len(networks)} networks, one thread; {differing} differ in MACs from torch's counter")
    print(f"new blocks      {1e3 * first:8.2f} ms a network, {torchs / first:8.1f} times torch's speed")
    print(f"known blocks    {1e3 * again:8.2f} ms a network, {torchs / again:8.1f} times torch's speed")
    print(f"FlopCounterMode {1e3 * torchs:8.2f} ms a network")


def _by_the_thousand(predictor: Predictor, space: SearchSpace, task: Task, count: int) -> None:
    rng, known = random.Random(1), set[Genotype]()
    for batch in range(1, _BATCHES + 1):
        new = (g for g in iter(lambda: space.sample(rng), None) if g not in known)
        genotypes = list(dict.fromkeys(islice(new, count)))
        known.update(genotypes)
        print(f"batch {batch}: new genotypes costed and predicted, {_rate(predictor, genotypes, task):,.0f} a second")
    print(f"all again: {_rate(predictor, list(known), task):,.0f} a second")


def _as_a_search(predictor: Predictor, space: SearchSpace, task: Task, count: int) -> None:
    pool = Pool(space, lambda genotypes: [uncovered(1, 1)] * len(genotypes), lambda _: True, 0)
    drawn = pool.drawn(2 * count)
    first, second = drawn[:count], drawn[count:]
    rng, known = random.Random(2), {c.genotype for c in drawn}
    pairs = [(rng.choice(drawn), rng.choice(drawn)) for _ in range(count)]
    children = {c.genotype for a, b in pairs for c in pool.crossed(a.genes, b.genes, 4)} - known
    print(f"a search's pool, {count} random genotypes: {_rate(predictor, [c.genotype for c in first], task):,.0f} a second")
    print(f"as many more: {_rate(predictor, [c.genotype for c in second], task):,.0f} a second")
    print(f"{len(children)} new crossings of these: {_rate(predictor, list(children), task):,.0f} a second")


def _rate(predictor: Predictor, genotypes: list[Genotype], task: Task) -> float:
    start = time.perf_counter()
    for genotype in genotypes:
        cost(genotype, task.of(genotype))
    predictor.covered(genotypes, task)
    return len(genotypes) / (time.perf_counter() - start)


def _seconds(work: Callable[[Genotype], int], networks: list[Genotype]) -> tuple[float, list[int]]:
    """Seconds a network, and the results."""
    start = time.perf_counter()
    results = [work(network) for network in networks]
    return (time.perf_counter() - start) / len(networks), results


if __name__ == "__main__":
    main()
