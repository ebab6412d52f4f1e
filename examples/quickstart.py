"""A search from Python, on the embedded data set: prints the network that it found, and what that says of one image.

usage: python examples/quickstart.py [--latency-budget 3] [--trials 2] [--run FOLDER]

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
    asked = parser.parse_args()

    config = nas.SearchConfig(
        latency_budget_ms=asked.latency_budget,
        space=asked.space,
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

    test = load(config.data, inputs=[(1, 28, 28)]).test
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "test.png")
        Image.fromarray(test.images[0, 0]).save(file)
        likeliest = next(iter(best.classify(file).items()))
    print(f"the first test image is {best.classes[test.labels[0]]}; the network says {likeliest[0]} ({likeliest[1]:.0%})")


if __name__ == "__main__":
    main()
