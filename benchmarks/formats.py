"""Whether the files of each export format compute what the network does: on test images, and for every kind of block.

usage: python benchmarks/formats.py EXPORT [--data NAME[:PATH]] [--images N] [--format NAME ...] [--blocks]

EXPORT is a folder of `nas train`, `nas export` or a run; its network is exported in each format whose packages are installed
and run as the README.md of the export says, on N images of the test set. Prints rows of the table in docs/formats.md: the
largest difference of logits from torch's, relative to the image's largest logit, and for how many images the class is the
same. `--blocks` exports instead a small network of each kind of block, and says which are refused.
"""

import argparse
import json
import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.agreement import difference
from evaluators.card import CARD, read_card
from evaluators.data import Preprocessing, load
from evaluators.latency.runtime import load_runtime
from evaluators.training.batches import Batches
from evaluators.weights import GENOTYPE, WEIGHTS, load_network
from nas.export import formats
from nas.export.files import Trained, export_trained
from nas.testing.blocks import block_texts
from nas.testing.networks import trained
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.registry import block_kinds
from search_spaces.task import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--data", default="fashion-mnist-small")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--format", action="append", dest="formats", help="default: all that are verified in a runtime")
    parser.add_argument("--blocks", action="store_true")
    asked = parser.parse_args()
    for name in asked.formats or converted():
        try:
            formats.load([name])
        except InputError as error:
            print(f"{name}: {error}")
            continue
        print(blocks(name) if asked.blocks else row(name, asked.export.resolve(), asked.data, asked.images), flush=True)


def converted() -> list[str]:
    return [name for name in formats.FORMATS.own() if hasattr(formats.FORMATS.load(name), "RUNTIME")]


def row(name: str, folder: Path, data: str, count: int) -> str:
    """A row of the table: the format's files of an export's network, run on `count` images of a test set."""
    genotype = Genotype.parse((folder / GENOTYPE).read_text(encoding="utf-8"))
    assert genotype.input
    classes, how = read_card(folder / CARD)
    network = load_network(genotype, genotype.task(classes), folder / WEIGHTS)
    (way,), shown = formats.load([name]).values(), images(data, how, count)
    given = Trained(genotype, folder / WEIGHTS, [str(i) for i in range(classes)], how, "top1", None, None)
    with tempfile.TemporaryDirectory() as place:
        export_trained(given, Path(place), [name])
        size = json.loads(Path(place, CARD).read_text(encoding="utf-8"))["files"][way.FILE]["bytes"]
        found = [run(formats.use(way), Path(place), image) for image in shown]
    off = [difference(logits, network, image) for logits, image in zip(found, shown, strict=True)]
    with torch.no_grad():
        same = sum(int(np.argmax(logits)) == int(network(image).argmax()) for logits, image in zip(found, shown, strict=True))
    version = load_runtime(way.RUNTIME).version()  # type: ignore[attr-defined]
    versions = f"{version}, torch {metadata.version('torch')}"
    return f"| {name} | {versions} | {genotype.id} | {len(off)} | {max(off):.1e} | {same} of {len(off)} | {size:,} |"


def images(data: str, how: Preprocessing, count: int) -> list[Tensor]:
    """Images [1, C, H, W] of the test set; always the same, in random order."""
    batches = Batches.of(load(data, inputs=[how.input]).test, how, torch.device("cpu"))
    among = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0))[:count]
    return [image for image, _ in batches.in_order(1, among)]


def run(use: str, folder: Path, image: Tensor) -> Any:
    """The logits that the lines in README.md compute in the folder."""
    before, scope = os.getcwd(), {"image": np.ascontiguousarray(image.numpy())}
    os.chdir(folder)
    try:
        exec(use, scope)
    finally:
        os.chdir(before)
    return np.asarray(scope["logits"]).reshape(-1)


def blocks(name: str) -> str:
    """How many kinds of block, each at its strides in a network for images of 32x32, are exported; refused ones by name."""
    refused, task = [], Task((3, 32, 32), 10)
    (way,) = formats.load([name]).values()
    texts = [(kind, text) for kind in block_kinds().values() for text in block_texts(kind).items()]
    for kind, (block, text) in texts:
        genotype = Genotype.parse(f"conv 24/2\n{text}" + ("" if "classes" in kind.takes else "\nhead"))
        torch.manual_seed(0)
        network = trained(genotype, task).eval()
        with tempfile.TemporaryDirectory() as place:
            try:
                formats.write(way, network, task, Path(place, way.FILE))
            except InputError as error:
                refused.append(f"{block}: {str(error).splitlines()[0][:200]}")
    return "\n  ".join([f"{name}: {len(texts) - len(refused)} of {len(texts)} blocks", *refused])


if __name__ == "__main__":
    main()
