"""Whether network.py of an export computes what the network does: every anchor, and random networks of every space.

usage: python benchmarks/source.py [NAME ...] [--networks N]

NAMEs are anchors; by default all, and N random networks of each space. Prints the largest difference of logits relative to the
largest logit, for one image and for three, and exits with 1 if one is above 1e-4.
"""

import argparse
import importlib.util
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.weights import save_weights
from nas.export.formats import torch_source
from search_spaces.anchor import anchor, anchor_names
from search_spaces.genotype import Genotype
from search_spaces.network import build, example_input
from search_spaces.space_file import load_space, space_names
from search_spaces.task import Task

WORST = 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--networks", type=int, default=50)
    asked = parser.parse_args()
    found = {}
    for name in asked.names or anchor_names():
        known = anchor(name)
        found[name] = difference(known.genotype.at(known.task.input), known.task)
        print(f"{name:<40} {found[name]:.1e}", flush=True)
    for space in [] if asked.names else space_names():
        rng, of_space = random.Random(0), load_space(space)
        for number in range(asked.networks):
            genotype = of_space.sample(rng)
            found[f"{space} {number}"] = difference(genotype, genotype.task(10))
        print(f"{space}: {asked.networks} networks", flush=True)
    worst = max(found, key=lambda name: found[name])
    print(f"{len(found)} networks; the largest difference is that of {worst}, {found[worst]:.1e}")
    return int(found[worst] > WORST)


def difference(genotype: Genotype, task: Task) -> float:
    torch.manual_seed(0)
    network = build(genotype, task)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        other = source(network, task, Path(folder))
        images = [example_input(task, count, 7) for count in (1, 3)]
        return max(float((other(x) - network(x)).abs().max() / network(x).abs().max()) for x in images)


def source(network: Any, task: Task, folder: Path) -> nn.Module:
    """The network that network.py in a folder loads."""
    torch_source.write(network, task, folder / "network.py")
    save_weights(network, folder / "weights.safetensors")
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded: nn.Module = module.load(folder)
    return loaded


if __name__ == "__main__":
    sys.exit(main())
