"""What surgeries bring: networks trained with them and without, in pairs of equal seeds, on the same images and steps.

usage: python benchmarks/learned.py DATA FOLDER [--methods M ...] [--epochs E] [--images I] [--seeds N] [--side S]

DATA is as for `nas train`, such as imagefolder:CIFAR. Each network is trained from scratch for E epochs of I images with the
surgery's recipe by `nas train`, in a folder of FOLDER; what is done there is not done again, and what was interrupted goes
on. Differences are of test accuracies with equal seeds, mean and standard error. Two networks are trained
at a time, on one thread each.
"""

import argparse
import json
import re
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from whole_runs import nas

from evaluators.training.recipe import RECIPES
from evaluators.training.surgery import surgery_of
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype

AT_ONCE = 2


class Arm(NamedTuple):
    """A network, and a recipe of which `surgery` replaces some settings; None takes the surgery out."""

    name: str
    genotype: str
    recipe: str
    surgery: dict[str, Any] | None


def arms(method: str) -> list[Arm]:
    """The networks of a method; the first is what the others are compared with."""
    found: list[Arm] = METHODS[method]()
    return found


def sparse_densenet() -> list[Arm]:
    text = anchor("densenet:40-12").genotype.text
    return [Arm("DenseNet-40", text, "sparse_densenet", None), Arm("Sparse-DenseNet-40", text, "sparse_densenet", {})]


def condensenet() -> list[Arm]:
    condensed = anchor("condensenet:cifar-50").genotype
    surgery = surgery_of(RECIPES.read("condensenet")[1]["surgery"])
    assert surgery
    dense = surgery.opened(condensed).text
    return [
        Arm("dense form", dense, "condensenet", None),
        Arm("condensed, without lasso", condensed.text, "condensenet", {"lasso": 0.0}),
        Arm("CondenseNet-50", condensed.text, "condensenet", {}),
    ]


def skipnet() -> list[Arm]:
    gated, alphas = anchor("skipnet").genotype.text, (0.1, 1.0, 10.0)
    return [
        Arm("no gates", without_gates(gated), "skipnet", None),
        Arm("supervised", gated, "skipnet", {"since": 1.0}),
        *(Arm(f"alpha {alpha:g}", gated, "skipnet", {"alpha": alpha}) for alpha in alphas),
    ]


def without_gates(text: str) -> str:
    """The blocks of a `gated` block, as they are."""
    first, *rest = re.split(r"(?m)^gated.*\n", text)
    assert len(rest) == 1
    return first + re.sub(r"(?m)^  [ |] ", "", rest[0])


def shifts() -> list[Arm]:
    learnt = anchor("asnet_cifar:16x3").genotype.text
    sparse, grouped = (shifted(learnt, kind) for kind in ("sparse_shift", "grouped_shift"))
    penalties = (0.0, 1e-4, 1e-3)
    return [
        Arm("grouped shift", grouped, "sparse_shift", None),
        *(Arm(f"sparse shift, penalty {p:g}", sparse, "sparse_shift", {"penalty": p}) for p in penalties),
        Arm("active shift, penalty 0.0001", learnt, "sparse_shift", {}),
    ]


def shifted(text: str, kind: str) -> str:
    """The network with another shift; where the shift has a stride, the pointwise convolution after it takes it."""
    text = re.sub(r"active_shift /2\n( *(?:\| )?)conv (\d+)/1", rf"{kind}\n\1conv \2/2", text)
    return text.replace("active_shift /1", kind)


METHODS = {"sparse_densenet": sparse_densenet, "condensenet": condensenet, "skipnet": skipnet, "shifts": shifts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=32)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for method in asked.methods:
        of_method = arms(method)
        jobs = [(asked, method, arm, seed) for seed in range(asked.seeds) for arm in of_method]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(trained, *zip(*jobs, strict=True)))
        found = {(arm.name, seed): result for (*_, arm, seed), result in zip(jobs, results, strict=True)}
        print_method(method, of_method, found, asked.seeds)


def trained(asked: argparse.Namespace, method: str, arm: Arm, seed: int) -> dict[str, Any]:
    """The result of an arm's training with a seed."""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{method}-{arm.name}-{seed}".lower())
    folder = asked.folder / name
    if not folder.is_dir():
        recipe = RECIPES.read(arm.recipe)[1] | {"epochs": asked.epochs, "least_images": 0, "most_images": asked.images}
        recipe["surgery"] = None if arm.surgery is None else recipe["surgery"] | arm.surgery
        recipe_file, network_file = folder.with_suffix(".yaml"), folder.with_suffix(".txt")
        recipe_file.write_text(yaml.safe_dump(recipe))
        network_file.write_text(Genotype.parse(arm.genotype).at((3, asked.side, asked.side)).text)
        options = ("--data", asked.data, "--recipe", recipe_file, "--from-scratch", "--seed", seed, "--to", folder)
        nas("train", network_file, *options, threads=1)
    nas("resume", folder, threads=1)
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def print_method(method: str, of_method: list[Arm], results: dict[tuple[str, int], dict[str, Any]], seeds: int) -> None:
    print(f"\n{method}")
    first = of_method[0].name
    for arm in of_method:
        found = [results[arm.name, seed] for seed in range(seeds)]
        tests = [one["test_accuracy"] for one in found]
        apart = [one["test_accuracy"] - results[first, seed]["test_accuracy"] for seed, one in enumerate(found)]
        more = {key: statistics.fmean(one["surgery"][key] for one in found) for key in found[0].get("surgery") or {}}
        seconds, losses = statistics.fmean(one["training_seconds"] for one in found), [e["loss"] for e in found[0]["epochs"]]
        print(
            f"  {arm.name:<30} test {statistics.fmean(tests):.2%} ({', '.join(f'{test:.2%}' for test in tests)}), "
            f"{100 * statistics.fmean(apart):+.2f} +- {100 * error(apart):.2f}; {found[0]['params'] / 1e6:.3f} M params, "
            f"{found[0]['macs'] / 1e6:.1f} M MACs; loss {losses[0]:.2f} to {losses[-1]:.2f}; {seconds:.0f} s",
            *(f"{key} {value:.4g}" for key, value in more.items()),
            sep="; ",
            flush=True,
        )


def error(values: list[float]) -> float:
    """The standard error of a mean; NaN for one value."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
