"""Whether network.py of an export computes what the network does: every anchor, and random networks of every space.

usage: python benchmarks/source.py [NAME ...] [--networks N] [--python PYTHON]

NAMEs are anchors; by default all, and N random networks of each space. Prints the largest difference of logits relative to the
largest logit, for one image and for three, and exits with 1 if one is above 1e-4. network.py runs in PYTHON, by default this
one: give that of an environment in which only torch is installed.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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
Logits = Callable[[Path], list[torch.Tensor]]  # of images.pt, by network.py and weights.safetensors, all in one folder

RUNS = """
import importlib.util
import sys
from pathlib import Path

import torch

for folder in map(Path, map(str.rstrip, sys.stdin)):
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load(folder)
    with torch.no_grad():
        torch.save([network(x) for x in torch.load(folder / "images.pt", weights_only=True)], folder / "logits.pt")
    print("done", flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    found = {}
    with subprocess.Popen(
        [asked.python, "-P", "-c", RUNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for name in asked.names or anchor_names():
            known = anchor(name)
            found[name] = difference(known.genotype.at(known.task.input), known.task, lambda folder: logits(process, folder))
            print(f"{name:<40} {found[name]:.1e}", flush=True)
        for space in [] if asked.names else space_names():
            rng, of_space = random.Random(0), load_space(space)
            for number in range(asked.networks):
                genotype = of_space.sample(rng)
                task = genotype.task(10)
                found[f"{space} {number}"] = difference(genotype, task, lambda folder: logits(process, folder))
            print(f"{space}: {asked.networks} networks", flush=True)
    worst = max(found, key=lambda name: found[name])
    print(f"{len(found)} networks; the largest difference is that of {worst}, {found[worst]:.1e}")
    return int(not all(value <= WORST for value in found.values()))  # NaN is no agreement


def difference(genotype: Genotype, task: Task, theirs: Logits) -> float:
    torch.manual_seed(0)
    network = build(genotype, task)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.eval()
    images = [example_input(task, count, 7) for count in (1, 3)]
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        torch_source.write(network, task, folder / "network.py")
        save_weights(network, folder / "weights.safetensors")
        torch.save(images, folder / "images.pt")
        pairs = zip(theirs(folder), map(network, images), strict=True)
        return max(float((found - expected).abs().max() / expected.abs().max()) for found, expected in pairs)


def logits(process: "subprocess.Popen[str]", folder: Path) -> list[torch.Tensor]:
    """What the process computes of a folder's images."""
    assert process.stdin and process.stdout
    print(folder, file=process.stdin, flush=True)
    if not process.stdout.readline():
        raise SystemExit("network.py does not run there; its error is above")
    found: list[torch.Tensor] = torch.load(folder / "logits.pt", weights_only=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
