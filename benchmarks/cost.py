"""How fast genotypes are costed and predicted, against torch's own FLOP counter on the same networks; ratios of one run.

usage: python benchmarks/cost.py [--networks N]
"""

import argparse
import random
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from evaluators.cost import cost
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space import load_space


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=40)
    count = parser.parse_args().networks
    torch.set_num_threads(1)
    space = load_space("mobile")
    task, rng = space.task(10), random.Random(0)
    cost(space.sample(rng), task)  # torch's first meta operations take two seconds, once
    networks = [space.sample(rng) for _ in range(count)]

    def counted(genotype: Genotype) -> int:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            build(genotype, task).eval()(torch.empty(1, *task.input))
        return counter.get_total_flops() // 2

    first, ours = _seconds(lambda g: cost(g, task).macs, networks)
    again, _ = _seconds(lambda g: cost(g, task).macs, networks)
    torchs, theirs = _seconds(counted, networks)
    differing = sum(a != b for a, b in zip(ours, theirs, strict=True))
    print(f"{count} networks of {space.name}, one thread; {differing} differ in MACs from torch's counter")
    print(f"new blocks      {1e3 * first:8.2f} ms a network, {torchs / first:8.1f} times torch's speed")
    print(f"known blocks    {1e3 * again:8.2f} ms a network, {torchs / again:8.1f} times torch's speed")
    print(f"FlopCounterMode {1e3 * torchs:8.2f} ms a network")


def _seconds(work: Callable[[Genotype], int], networks: list[Genotype]) -> tuple[float, list[int]]:
    """Seconds a network, and the results."""
    start = time.perf_counter()
    results = [work(network) for network in networks]
    return (time.perf_counter() - start) / len(networks), results


if __name__ == "__main__":
    main()
