"""What inheritance, the linear probe and searches that fine-tune are worth on photos; the figures of benchmarks/photos.md.

usage: python benchmarks/photos.py inherit DATA FOLDER    networks of each kind of block: at random, inherited, imitating
       python benchmarks/photos.py probe DATA FOLDER      how the probe ranks networks by what they reach when fine-tuned
       python benchmarks/photos.py search DATA FOLDER     whole searches at three budgets, by the command line's own defaults
       python benchmarks/photos.py table FOLDER           what was found so far, as tables

DATA is as `nas search --data` takes it. What is done is kept in FOLDER, one JSON line each, and not done again when the script
is started anew. `inherit` and `probe` run on one thread; `search` uses the machine's device profile, and measures it where
there is none.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from evaluators import zero_cost
from evaluators.cost import cost
from evaluators.data import Dataset, load
from evaluators.inheritance.find import find_donor
from evaluators.inheritance.imitation import imitate
from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import calibrated, estimate_statistics
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.predict.predictor import Predictor
from evaluators.training.batches import Batches
from evaluators.training.finetune import Beginnings, ready_blocks
from evaluators.training.loop import Training, seeded_network
from evaluators.training.probe import begin_head, probe
from evaluators.training.recipe import load_recipe
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space

CPU = torch.device("cpu")
HAND_DESIGNED = ("mobilenet_v2", "mobilenet_v3", "mobilenet_v4", "espnet_v2", "fe_net")
KINDS = ("inverted_residual", "fused", "shuffle", "eesp", "csc", "fe")
SHARES = (0.25, 0.5, 1.0)  # of the latency of MobileNetV2 at 224x224, the budgets
RESAMPLES = 4000
Record = dict[str, Any]


class Kept:
    """Results by key, one JSON line each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "photos.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.found: dict[str, Record] = {line["key"]: line for line in map(json.loads, lines)}

    def get(self, key: str, make: Callable[[], Record]) -> Record:
        if key not in self.found:
            self.found[key] = {"key": key, **make()}
            with self.path.open("a") as file:
                file.write(json.dumps(self.found[key]) + "\n")
            print(json.dumps(self.found[key]), flush=True)
        return self.found[key]


class Photos:
    """A data set at the inputs of a space, and the installed donor."""

    def __init__(self, spec: str, sizes: Sequence[int]) -> None:
        torch.set_num_threads(1)
        self.donor = find_donor()
        self.data: Dataset = load(spec, inputs=[(3, size, size) for size in sizes])
        self.space: SearchSpace = replace(load_space("mobile").with_anchors([self.donor.name]), padding=self.donor.padding)
        self.beginnings = Beginnings(self.donor)

    def images(self, part: str, genotype: Genotype) -> Batches:
        assert genotype.input
        how = self.data.preprocessing(genotype.input, self.donor.mean, self.donor.std)
        return Batches.of(getattr(self.data, part), how, CPU)

    def tuned(self, network: Any, genotype: Genotype, epochs: int, generator: torch.Generator, ready: int) -> list[float]:
        """Validation accuracy after each epoch of fine-tuning, the first `ready` blocks being fit to be kept."""
        parts = self.images("train", genotype), self.images("validation", genotype)
        recipe = replace(load_recipe("finetune"), epochs=epochs, most_validated=0)
        training = Training(network, *parts, recipe, generator, ready=ready)
        while not training.finished:
            training.epoch()
        return [epoch.accuracy for epoch in training.history]


def inherited(photos: Photos, kept: Kept, size: int, seeds: int, epochs: int) -> None:
    """Networks whose middle stages are of one kind of block: from random weights, inherited, and imitating as well."""
    for kind in KINDS:
        for seed in range(seeds):
            genotype = of_one_kind(photos.space, kind, random.Random(f"{kind} {seed}")).at((3, size, size))
            for way in ("random", "inherited", "imitating"):
                key = f"inherit {photos.data.name} {size} {kind} {seed} {way} {epochs}"
                kept.get(key, lambda g=genotype, w=way, s=seed, k=kind: begun(photos, g, w, s, epochs) | {"kind": k, "way": w})


def of_one_kind(space: SearchSpace, kind: str, rng: random.Random) -> Genotype:
    """A random network whose stages s3 to s6 are of one kind of block, or of inverted residuals where a stage lacks it."""

    def choose(gene: str, values: Sequence[Value]) -> Value:
        if gene.endswith(".block"):
            wanted = kind if gene[:2] in ("s3", "s4", "s5", "s6") and kind in values else "inverted_residual"
            return wanted if wanted in values else values[0]
        return rng.choice(values)

    while True:
        found = space.decode(choose)
        if 40e6 < cost(found.at((3, 128, 128)), space.task(6).of(found.at((3, 128, 128)))).macs < 150e6:
            return found


def begun(photos: Photos, genotype: Genotype, way: str, seed: int, epochs: int) -> Record:
    """The probe and the accuracies of one network that begins in one way, and the processor seconds of both."""
    task = genotype.task(len(photos.data.classes))
    train = photos.images("train", genotype)
    network, generator = seeded_network(genotype, task, seed, CPU)
    start = time.process_time()
    images = train.few(128)[0]
    share, ready = 0.0, 0
    if way == "random":
        estimate_statistics(network, images)
    else:
        donor = calibrated(photos.donor, images)
        found = inherit(network, donor, seed)
        share = found.share
        if way == "inherited":
            estimate_statistics(network, images)
            ready = ready_blocks(found, ())
        else:
            ready = ready_blocks(found, imitate(network, donor.network(), images, found.goals))
    first = probe(network, train, most=500)
    begin_head(network, first)
    begun_at = time.process_time()
    accuracies = photos.tuned(network, genotype, epochs, generator, ready)
    seconds = {"begin_s": round(begun_at - start, 1), "tune_s": round(time.process_time() - begun_at, 1)}
    return {"share": share, "probe": first.scores.top1, "accuracies": accuracies, **seconds}


def ranked(photos: Photos, kept: Kept, networks: int, epochs: int, size: int) -> None:
    """The probe, the zero-cost scores, MACs and parameters of networks beside what they reach when they are fine-tuned."""
    for number, (name, genotype) in enumerate(islice(candidates(photos, size), networks)):
        key = f"probe {photos.data.name} {size} {number} {epochs}"
        kept.get(key, lambda g=genotype, of=name: {"of": of} | _ranked_one(photos, g, epochs))


def candidates(photos: Photos, size: int) -> Iterator[tuple[str, Genotype]]:
    """What a search may consider, each with what it comes from: hand-designed networks, mutations of two, random networks."""
    space, rng = photos.space, random.Random("rank")
    known = {a.name: a.genotype for a in space.reference_networks()}
    donor, other = f"{photos.donor.name}@{size}", f"mobilenet_v2@{size}"
    yield from ((name, known[f"{name}@{size}"]) for name in (photos.donor.name, *HAND_DESIGNED))
    for parent, changes, count in ((donor, 2, 6), (donor, 4, 8), (donor, 8, 8), (other, 4, 4), ("random", 0, 8)):
        genes = space.encode(known[parent]) if parent in known else {}
        for _ in range(count):
            yield f"{parent} {changes} changed", _drawn(space, genes, changes, rng).at((3, size, size))


def _drawn(space: SearchSpace, parent: Mapping[str, Value], changes: int, rng: random.Random) -> Genotype:
    """`parent` with some genes changed, those that it lacks at random, of 40 to 220 M MACs at 128x128."""
    while True:
        changed = set(rng.sample(sorted(parent), changes))
        found = space.decode(
            lambda gene, values, c=changed: parent[gene] if gene in parent and gene not in c else rng.choice(values)
        ).at((3, 128, 128))
        if 40e6 < cost(found, space.task(10).of(found)).macs < 220e6:
            return found


def _ranked_one(photos: Photos, genotype: Genotype, epochs: int, seed: int = 0) -> Record:
    task, train = genotype.task(len(photos.data.classes)), photos.images("train", genotype)
    network, generator = seeded_network(genotype, task, seed, CPU)
    scores = zero_cost.scores(genotype, task, *train.few(64), seed)
    start = photos.beginnings.begin(network, train, seed)
    figures = cost(genotype, task)
    return {
        "genotype": genotype.text,
        "macs": figures.macs,
        "params": figures.params,
        "share": start.share,
        "probe": start.accuracy,
        "scores": scores,
        "accuracies": photos.tuned(network, genotype, epochs, generator, start.ready),
    }


def searched(data: str, kept: Kept, seeds: int, extra: Sequence[str]) -> None:
    """Searches as a person would start them, at shares of the predicted latency of MobileNetV2 at 224x224."""
    profile = load_profile()
    predictor = Predictor(profile, profile.calibration(load_space("mobile")))
    known = next(a for a in load_space("mobile").reference_networks() if a.name == "mobilenet_v2@224")
    whole = predictor.predict(known.genotype, known.task).ms
    for seed in range(seeds):
        for share in SHARES:
            key = f"search {data.rpartition('/')[2]} {share} {seed} {' '.join(extra)}".strip()
            kept.get(key, lambda b=share * whole, s=seed: _search(data, b, s, kept.path.parent, extra))


def _search(data: str, budget_ms: float, seed: int, folder: Path, extra: Sequence[str]) -> Record:
    run = folder / f"run-{budget_ms:.2f}ms-{seed}-{int(time.time())}"
    start = time.monotonic()
    command = [sys.executable, "-m", "nas", "search", "--data", data, "--latency-budget", f"{budget_ms:.3f}ms"]
    subprocess.run([*command, "--seed", str(seed), "--run", str(run), *extra], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((run / "result.json").read_text())
    keys = ("id", "anchor", "input", "test_accuracy", "test_error", "p50_ms", "inherited", "genotype")
    entries = {"found": found["found"], "anchors": [a for a in found["anchors"] if a["fits"]]}
    return {
        "budget_ms": budget_ms,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "found": {k: entries["found"][k] for k in keys} if entries["found"] else None,
        "anchors": [{k: a[k] for k in keys} for a in entries["anchors"]],
        "rank_correlations": found["rank_correlations"],
    }


def tables(kept: Kept) -> None:
    """What was found, as the tables of benchmarks/photos.md."""
    rows = list(kept.found.values())
    if inherits := [r for r in rows if r["key"].startswith("inherit ")]:
        _inherit_table(inherits)
    if probes := [r for r in rows if r["key"].startswith("probe ")]:
        _probe_table(probes)
    if searches := [r for r in rows if r["key"].startswith("search ")]:
        _search_table(searches)


def _inherit_table(rows: Sequence[Record]) -> None:
    print("| blocks in s3 to s6 | weights at first | n | share | probe | after epochs of fine-tuning | begin s | tune s |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for way in ("random", "inherited", "imitating"):
            mine = [r for r in rows if (r["kind"], r["way"]) == (kind, way)]
            if mine:
                after = ", ".join(map(_mean, zip(*(r["accuracies"] for r in mine), strict=True)))
                columns = (_mean([r[k] for r in mine]) for k in ("share", "probe"))
                seconds = (f"{statistics.median(r[k] for r in mine):.1f}" for k in ("begin_s", "tune_s"))
                print(f"| {kind} | {way} | {len(mine)} | {' | '.join(columns)} | {after} | {' | '.join(seconds)} |")


def _mean(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.1f} ± {100 * error:.1f}"


def _probe_table(rows: Sequence[Record]) -> None:
    truth = np.array([r["accuracies"][-1] for r in rows])
    votes = zero_cost.vote([r["scores"] for r in rows])
    columns = {"linear probe": [r["probe"] for r in rows], "inherited share": [r["share"] for r in rows]}
    columns |= {"MACs": [r["macs"] for r in rows], "params": [r["params"] for r in rows], "zero-cost vote": votes}
    columns |= {name: [r["scores"][name] for r in rows] for name in zero_cost.names()}
    print(
        f"\nSpearman's rho with validation accuracy after {len(rows[0]['accuracies'])} epochs, n = {len(rows)}, 95 % interval"
    )
    print("\n| rank by | rho |\n|---|---|")
    for name, values in columns.items():
        print(f"| {name} | {rank_correlation(np.array(values, float), truth)} |")


def rank_correlation(a: np.ndarray, b: np.ndarray) -> str:
    """Spearman's rho, and the 95 % interval of a bootstrap over networks."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(a), len(a)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile([spearmanr(a[i], b[i]).statistic for i in drawn], [0.025, 0.975])
    return f"{spearmanr(a, b).statistic:+.2f} ({low:+.2f} to {high:+.2f})"


def _search_table(rows: Sequence[Record]) -> None:
    print("\n| search | budget ms | found, test | at | ms | best hand-designed | test | ms | lead, points | minutes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        found, best = row["found"], max(row["anchors"], key=lambda a: a["test_accuracy"], default=None)
        if found and best:
            lead = 100 * (found["test_accuracy"] - best["test_accuracy"])
            error = 100 * (found["test_error"] ** 2 + best["test_error"] ** 2) ** 0.5
            print(
                f"| {row['key'].removeprefix('search ')} | {row['budget_ms']:.2f} | {found['test_accuracy']:.2%} | "
                f"{found['input'][1]} | {found['p50_ms']:.2f} | {best['anchor']} | {best['test_accuracy']:.2%} | "
                f"{best['p50_ms']:.2f} | {lead:+.2f} ± {error:.2f} | {row['minutes']} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["inherit", "probe", "search", "table"])
    parser.add_argument("data", nargs="?")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96])
    asked, extra = parser.parse_known_args()
    kept = Kept(asked.folder)
    if asked.what == "table":
        tables(kept)
    elif asked.what == "search":
        searched(asked.data, kept, asked.seeds, extra)
    elif asked.what == "probe":
        ranked(Photos(asked.data, asked.sizes[:1]), kept, asked.networks, asked.epochs, asked.sizes[0])
    else:
        inherited(Photos(asked.data, asked.sizes[:1]), kept, asked.sizes[0], asked.seeds, asked.epochs)


if __name__ == "__main__":
    main()
