"""How far predicted latency is from measured, on networks that the profile has not seen, beside simpler predictors.

usage: python benchmarks/latency.py [--space S] [--networks N] [--seconds S] [--sessions N] [--profile FILE.json] [--seed N]
                                    [--float FILE.json] [--keep TIMES.json | --from TIMES.json]

Networks are drawn at all inputs of the space and padded in both ways, with another seed than calibration's. The space's anchors
are added at all inputs, and where the runtime reads ONNX torchvision's own compact networks, exported as they are and predicted
by the anchor that computes the same. All are timed now, in several fresh processes, whose median is the truth: where a
process's memory happens to lie moves a network's time by some per cent. With --from they are taken from what an earlier call
kept. The baselines are fitted to the same profile's fit networks; with --float, a float32 profile of the same machine, its
predictions times a factor, or times a factor for each class of kernels, are baselines, too. Every figure is of one run: n, the
noise of measuring and how busy the machine was stand above the table. Figures to quote come from a seed whose networks nobody
has looked at.
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from torchvision.models import get_model

from evaluators.cost import BlockCost, block_costs, cost
from evaluators.latency.device.measure_networks import Bench, measure_apart
from evaluators.latency.device.profile import FIT, MeasuredNetwork, Profile
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.kernels.kernel import Size
from evaluators.latency.kernels.lowering import LOWERING, graph_run, lowered_blocks, total_kernels
from evaluators.latency.predict.older_profiles import relowered
from evaluators.latency.predict.predictor import Prediction, Predictor
from evaluators.latency.predict.timed_blocks import UncoveredError
from evaluators.latency.runtime import Graph, load_runtime
from evaluators.latency.timing.exporting import Order, writers
from evaluators.latency.timing.measure import Measurement
from search_spaces.anchor import anchors
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space
from search_spaces.task import Task, input_text

Array = NDArray[np.float64]
Network = tuple[Genotype, Task]
Predict = Callable[[Sequence[Network]], Array]

_GROUP = 20  # networks timed in one process
_COMPACT = 1e9  # MACs
_OURS = "this predictor"


@dataclass(frozen=True)
class Timed:
    """A network as it was measured: medians over sessions of figures that evaluators.latency.timing.measure explains.

    torchvision: the name of its network that was timed. between: the largest robust_ms of a session over the smallest, minus 1.
    """

    genotype: str
    classes: int
    anchor: bool
    robust_ms: float
    p50_ms: float
    spread: float
    contention: float
    between: float = 0.0
    torchvision: str = ""


def main() -> None:
    flags = _flags()
    profile, space = load_profile(flags.profile), load_space(flags.space)
    timed = _kept(flags.kept, profile, space) if flags.kept else _measured(profile, space, flags)
    if flags.keep:
        content = {"device": asdict(profile.device), "space": space.name, "networks": [asdict(t) for t in timed]}
        flags.keep.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    predictor = Predictor(profile, profile.calibration(space))
    predictors = _predictors(predictor, profile, space)
    if flags.floats:
        floats = load_profile(flags.floats)
        predictors |= _of_float(Predictor(floats, floats.calibration(space)), profile, space)
    _report(predictor, predictors, profile, space, timed)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--profile", default="local")
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--float", dest="floats")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--keep", type=Path)
    files.add_argument("--from", type=Path, dest="kept")
    return parser.parse_args()


def _report(
    predictor: Predictor, predictors: dict[str, Predict], profile: Profile, space: SearchSpace, timed: Sequence[Timed]
) -> None:
    sampled, anchored = [t for t in timed if not t.anchor and not t.torchvision], [t for t in timed if t.anchor]
    theirs = [t for t in timed if t.torchvision]
    names = ("spread", "between", "contention")
    spread, between, contention = (statistics.median(getattr(t, name) for t in timed) for name in names)
    print(
        f"{profile.device}; {len(sampled)} sampled networks of {space.name}, {len(anchored)} anchors, "
        f"{len(theirs)} networks of torchvision"
    )
    print(
        f"standard error within a session {spread:.1%}, between sessions {between:.1%} from the least to the largest, the "
        f"machine {contention:.0%} slower than when it was quietest (medians)"
    )
    covered = {t.torchvision: predictor.covered([genotype], task)[0] for t in theirs for genotype, task in _networks([t])}
    for name, prediction in covered.items():
        print(f"{name}: refused, an operation was not measured" if prediction is None else _line(name, prediction, theirs))
    theirs = [t for t in theirs if covered[t.torchvision]]
    for title, part in (("sampled", sampled), ("anchors", anchored), ("torchvision", theirs)):
        if not part:
            continue
        print(f"\n{title:<34}{'rmspe':>8}{'bias':>8}{'in 5 %':>8}{'in 10 %':>9}{'worst':>8}{'rank':>7}")
        for name, predict in predictors.items():
            try:
                _row(name, predict(_networks(part)), np.array([t.robust_ms for t in part]))
            except UncoveredError as error:
                print(f"{name:<34} {error}")
        for input in space.inputs if len(space.inputs) > 1 else ():
            at_input = [t for t in part if Genotype.parse(t.genotype).input == input]
            if len(at_input) > 1:
                name, truth = f"  this predictor, {input_text(input)}", np.array([t.robust_ms for t in at_input])
                _row(name, predictors[_OURS](_networks(at_input)), truth)
    bounds = np.array([predictor.predict(genotype, task).bound_ms for genotype, task in _networks(sampled)])
    over = bounds / np.array([t.robust_ms for t in sampled]) - 1
    print(f"\nupper bound at 95 %: holds for {np.mean(over >= 0):.1%} of {len(over)}, {over.mean():.1%} above on average")


def _line(name: str, prediction: Prediction, timed: Sequence[Timed]) -> str:
    ms = next(t.robust_ms for t in timed if t.torchvision == name)
    return f"{name}: measured {ms:.2f} ms, predicted {prediction.ms:.2f} ({prediction.ms / ms - 1:+.1%})"


def _networks(timed: Sequence[Timed | MeasuredNetwork]) -> list[Network]:
    return [(g, g.task(t.classes)) for t in timed for g in (Genotype.parse(t.genotype),)]


def _kept(path: Path, profile: Profile, space: SearchSpace) -> list[Timed]:
    """What an earlier call kept, without networks that the profile was measured on."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if (content["device"], content["space"]) != (asdict(profile.device), space.name):
        sys.exit(f"{path} is of another device or space: {content['device']}, {content['space']}")
    known = {n.genotype for n in profile.calibration(space).networks}
    return [Timed(**network) for network in content["networks"] if network["genotype"] not in known]


def _measured(profile: Profile, space: SearchSpace, flags: argparse.Namespace) -> list[Timed]:
    """Unseen networks and the space's anchors, exported and timed now."""
    sampled = _unseen(space, profile, flags.networks, flags.seed)
    networks = [*sampled, *((a.genotype, a.genotype.task(1000)) for a in space.reference_networks())]
    share = flags.seconds / len(networks)  # seconds a network
    sessions = _measure(networks, profile, space, flags.seconds, flags.sessions)
    return [
        _timed(genotype, task, i >= len(sampled), found)
        for i, ((genotype, task), found) in enumerate(zip(networks, sessions, strict=True))
    ] + _measured_theirs(profile, space, share, flags.sessions)


def _measured_theirs(profile: Profile, space: SearchSpace, seconds: float, sessions: int) -> list[Timed]:
    """torchvision's networks below _COMPACT that an anchor reproduces, about `seconds` each; none for other files than ONNX."""
    code, bench = load_runtime(profile.device.runtime), Bench.of(profile, space)
    if code.SUFFIX != ".onnx":
        return []
    known = {a.reference.removeprefix("torchvision/"): a for a in anchors() if a.reference.startswith("torchvision/")}
    compact = {n: a for n, a in known.items() if a.task.input in space.inputs and cost(a.genotype, a.task).macs < _COMPACT}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}{code.SUFFIX}" for name in compact]
        for path, (name, known_as) in zip(paths, compact.items(), strict=True):
            code.prepare(get_model(name, weights=None), known_as.task, path)
        by_session = [measure_apart(paths, seconds * len(paths) / sessions, bench, seed) for seed in range(sessions)]
    return [
        replace(_timed(a.genotype.at(a.task.input), a.task, False, found), torchvision=name)
        for (name, a), found in zip(compact.items(), zip(*by_session, strict=True), strict=True)
    ]


def _timed(genotype: Genotype, task: Task, anchor: bool, sessions: Sequence[Measurement]) -> Timed:
    times = [m.robust_ms for m in sessions]
    medians = (statistics.median(getattr(m, name) for m in sessions) for name in ("p50_ms", "spread", "contention"))
    between = max(times) / min(times) - 1
    return Timed(genotype.text, task.classes, anchor, statistics.median(times), *medians, between)


def _unseen(space: SearchSpace, profile: Profile, count: int, seed: int) -> list[Network]:
    known = {n.genotype for n in profile.calibration(space).networks}
    rng = random.Random(seed)
    found: dict[Genotype, Task] = {}
    while len(found) < count:
        genotype = replace(space, padding=rng.choice(("symmetric", "same"))).sample(rng)
        if genotype.text not in known:
            found[genotype] = genotype.task(rng.choice((10, 100, 1000)))
    return list(found.items())


def _measure(
    networks: Sequence[Network], profile: Profile, space: SearchSpace, seconds: float, sessions: int
) -> list[tuple[Measurement, ...]]:
    """Each network's sessions, for about `seconds` of timing in all."""
    code, bench, found = load_runtime(profile.device.runtime), Bench.of(profile, space), []
    order = random.Random(0).sample(range(len(networks)), len(networks))
    with writers(bench.runtime, len(networks)) as write:
        for start in range(0, len(order), _GROUP):
            group = order[start : start + _GROUP]
            with tempfile.TemporaryDirectory() as folder:
                paths = list(write([Order(*networks[i], Path(folder) / f"{i}{code.SUFFIX}") for i in group]))
                share = seconds * len(group) / len(order) / sessions
                by_session = [measure_apart(paths, share, bench, seed) for seed in range(sessions)]
                found += list(zip(group, zip(*by_session, strict=True), strict=True))
            print(f"measured {len(found)} of {len(order)}", flush=True)
    return [measurements for _, measurements in sorted(found, key=lambda entry: entry[0])]


def _predictors(predictor: Predictor, profile: Profile, space: SearchSpace) -> dict[str, Predict]:
    """The product's predictor, and what a user might do instead, fitted to the same networks."""
    calibration = profile.calibration(space)
    timed = (kernel for network in calibration.networks for kernel in network.kernel_times)
    graph = graph_run(load_runtime(profile.device.runtime).GRAPH, timed)
    fit = calibration.split(FIT)
    if calibration.lowering != LOWERING:
        fit = tuple(relowered(network, graph) for network in fit)
    networks = _networks(fit)
    ms = np.array([n.ms for n in fit])

    def linear(columns: slice) -> Predict:
        rows = _features(networks)[:, columns]
        weights = np.linalg.lstsq(rows / ms[:, None], np.ones(len(ms)), rcond=None)[0]
        return lambda wanted: np.asarray(_features(wanted)[:, columns] @ weights)

    forest = RandomForestRegressor(300, random_state=0).fit(_features(networks), np.log(ms))
    table = _Table(fit, graph) if fit[0].kernel_times else None
    return {
        _OURS: lambda wanted: np.array([predictor.predict(g, t).ms for g, t in wanted]),
        "five figures, random forest": lambda wanted: np.exp(forest.predict(_features(wanted))),
        "five figures, linear": linear(slice(None)),
        "MACs, linear": linear(slice(2)),
    } | ({"table of blocks": table.predict} if table else {})


def _of_float(floats: Predictor, profile: Profile, space: SearchSpace) -> dict[str, Predict]:
    """Float32 predictions times one factor, or times a factor per class of float32 kernels, fitted to the fit networks."""
    fit = profile.calibration(space).split(FIT)
    networks, ms = _networks(fit), np.array([n.ms for n in fit])

    def whole(wanted: Sequence[Network]) -> Array:
        return np.array([floats.predict(genotype, task).ms for genotype, task in wanted])

    parts = [floats.class_ms(genotype, task) for genotype, task in networks]
    kinds = sorted({kind for part in parts for kind in part})

    def by_class(found: Sequence[dict[str, float]]) -> Array:
        return np.array([[part.get(kind, 0.0) for kind in kinds] for part in found])

    factor = float(np.median(ms / whole(networks)))
    factors = nnls(by_class(parts) / ms[:, None], np.ones(len(ms)))[0]
    return {
        "float32, one factor": lambda wanted: factor * whole(wanted),
        "float32, a factor per class": lambda wanted: by_class([floats.class_ms(g, t) for g, t in wanted]) @ factors,
    }


class _Table:
    """A look-up table of blocks, where the runtime tells kernels' times: each block's mean time in the fit networks.

    A block that was not met, as most are where widths are free, takes the mean time per MAC of its kind at its resolution,
    else of its kind, else of all.
    """

    def __init__(self, networks: Sequence[MeasuredNetwork], graph: Graph) -> None:
        self._sums: dict[tuple[Any, ...], Array] = defaultdict(lambda: np.zeros(3))
        for network, (genotype, task) in zip(networks, _networks(networks), strict=True):
            for block, ms in zip(block_costs(genotype, task), _block_ms(network, genotype, task, graph), strict=True):
                for key in _keys(block, task):
                    self._sums[key] += (1, ms, _work(block))

    def predict(self, wanted: Sequence[Network]) -> Array:
        found = []
        for genotype, task in wanted:
            found.append(sum(self._ms(block, _keys(block, task)) for block in block_costs(genotype, task)))
        return np.array(found)

    def _ms(self, block: BlockCost, keys: Sequence[tuple[Any, ...]]) -> float:
        known = next(key for key in keys if key in self._sums)
        count, ms, work = self._sums[known]
        return float(ms / count if known == keys[0] else ms / work * _work(block))


def _keys(block: BlockCost, task: Task) -> list[tuple[Any, ...]]:
    """The block itself, and what it is like, from near to far."""
    spec, shape = block.spec, block.in_shape
    return [(spec.line, shape, task.classes * (spec.kind == "head")), (spec.kind, shape[1], spec.stride), (spec.kind,), ()]


def _work(block: BlockCost) -> float:
    return float(block.cost.macs + math.prod(block.in_shape))


def _block_ms(network: MeasuredNetwork, genotype: Genotype, task: Task, graph: Graph) -> list[float]:
    """The kernels' times given to the blocks that they come from, in order, and scaled to the network's own."""
    left: dict[tuple[str, Size], list[float]] = defaultdict(list)
    for kind, size, ms in reversed(network.kernel_times):
        left[kind, size].append(ms)
    blocks = lowered_blocks(genotype, task, graph)
    times = [sum(left[k.kind, k.size].pop() for k in block.kernels if left[k.kind, k.size]) for block in blocks]
    return [ms * network.ms / sum(times) for ms in times]


def _features(networks: Sequence[Network]) -> Array:
    """One, MACs, params, activations, kernels, elements moved."""
    rows = []
    for genotype, task in networks:
        figures, kernels = cost(genotype, task), total_kernels(genotype, task)
        count, moved = (sum(row[i] for row in kernels.values()) for i in (0, 3))
        rows.append([1.0, figures.macs / 1e8, figures.params / 1e6, figures.activations / 1e6, count / 100, moved / 1e6])
    return np.array(rows)


def _row(name: str, predicted: Array, truth: Array) -> None:
    errors = predicted / truth - 1
    within = [float(np.mean(np.abs(errors) <= limit)) for limit in (0.05, 0.10)]
    print(
        f"{name:<34}{np.sqrt(np.mean(errors**2)):>8.1%}{errors.mean():>+8.1%}{within[0]:>8.0%}{within[1]:>9.0%}"
        f"{np.abs(errors).max():>8.0%}{spearmanr(predicted, truth)[0]:>7.3f}"
    )


if __name__ == "__main__":
    main()
