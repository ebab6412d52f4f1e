"""A search from Python, on the embedded data set or yours: prints the network that it found, and what that says of an image.

usage: python examples/quickstart.py [--latency-budget 3] [--trials 2] [--run FOLDER] [--data imagefolder:PATH --image FILE]

On a machine that was not measured before, latency is measured first, once, for two minutes.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

import nas
from evaluators.data import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-budget", type=float, default=3.0, help="milliseconds")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", default=nas.SearchConfig.data)
    parser.add_argument("--image", type=Path, help="default: the first test image of the embedded data set")
    asked = parser.parse_args()

    config = nas.SearchConfig(
        latency_budget_ms=asked.latency_budget,
        space=asked.space,
        data=asked.data,
        trials=asked.trials,
        rivals=1,
        finalists=1,
        epochs=1,
        final_epochs=1,
    )
    run = nas.search(config, asked.run)
    best = run.best
    assert best is not None, "no network held the budget"
    print(best.anchor or best.id, best.genotype.text, sep="\n")
    print(f"{best.latency.p50_ms:.2f} ms measured at the budget of {config.latency_budget_ms:g} ms")
    print(f"{best.test_accuracy:.2%} of the test images")

    with tempfile.TemporaryDirectory() as folder:
        file = asked.image or first_test_image(Path(folder))
        name, share = next(iter(best.classify(file).items()))
    print(f"{file.name}: the network says {name} ({share:.0%})")


def first_test_image(folder: Path) -> Path:
    """The embedded data set's first test image as a file that is named after its class."""
    dataset = load(nas.SearchConfig.data, inputs=[(1, 28, 28)])
    file = folder / f"{dataset.classes[dataset.test.labels[0]]}.png"
    Image.fromarray(dataset.test.images[0, 0]).save(file)
    return file


if __name__ == "__main__":
    main()
