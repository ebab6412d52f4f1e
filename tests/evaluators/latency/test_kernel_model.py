"""The model of single kernels finds a made-up machine again, and knows what it was not shown."""

import random

import numpy as np
import pytest

from evaluators.latency.kernels.kernel import ACTIVATIONS, Size
from evaluators.latency.predict.kernel_model import LEVELS, KernelModel, footprint_of

PROFILER_MS = 0.004
KINDS = ("pointwise", "depthwise")


def kernel(rng: random.Random, largest: int = 256) -> tuple[str, Size]:
    kind, c_in = rng.choice(KINDS), 16 * rng.randint(1, largest // 16)
    c_out = c_in if kind == "depthwise" else 16 * rng.randint(1, largest // 16)
    pixels, k = rng.choice([49, 196, 784, 3136]), 3 if kind == "depthwise" else 1
    macs = c_out * pixels * (9 if kind == "depthwise" else c_in)
    return kind, Size(macs, c_in * pixels, c_out * pixels, macs // pixels, c_in, c_out, pixels, k)


def true_ms(kind: str, size: Size) -> float:
    """A machine that is slower where there are few channels: no straight line."""
    return (0.002 + size.macs * (6e-8 if kind == "depthwise" else 1e-8)) * (1 + 8 / size.c_in)


def network(rng: random.Random) -> list[tuple[str, Size]]:
    return [kernel(rng) for _ in range(rng.randint(20, 40))]


def timed(kernels: list[tuple[str, Size]], slowdown: float) -> list[tuple[str, Size, float]]:
    """As a profiler tells it: every kernel some microseconds more, everything slower while other work runs."""
    return [(kind, size, slowdown * true_ms(kind, size) + PROFILER_MS) for kind, size in kernels]


def whole_ms(model: KernelModel, kernels: list[tuple[str, Size]]) -> float:
    return float(model.at(kernels).sum()) * model.together


@pytest.fixture(scope="module")
def model() -> KernelModel:
    rng = random.Random(0)
    networks = [network(rng) for _ in range(30)]
    totals = [sum(true_ms(*k) for k in kernels) for kernels in networks]
    return KernelModel([timed(kernels, rng.uniform(1, 1.5)) for kernels in networks], totals)


def test_unseen_networks_are_predicted(model: KernelModel) -> None:
    rng = random.Random(1)
    networks = [network(rng) for _ in range(50)]
    errors = [whole_ms(model, kernels) / sum(true_ms(*k) for k in kernels) - 1 for kernels in networks]
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


def test_networks_profiled_in_a_busy_moment_do_not_count() -> None:
    """Every sixth, while other work took the memory: its depthwise kernels took four times as long, the others twice."""

    def busy(kernels: list[tuple[str, Size]]) -> list[tuple[str, Size, float]]:
        return [(kind, size, (4 if kind == "depthwise" else 2) * ms) for kind, size, ms in timed(kernels, 1.0)]

    rng = random.Random(3)
    networks = [network(rng) for _ in range(36)]
    totals = [sum(true_ms(*k) for k in kernels) for kernels in networks]
    told = [busy(kernels) if i % 6 == 0 else timed(kernels, rng.uniform(1, 1.05)) for i, kernels in enumerate(networks)]
    usual = [i for i in range(36) if i % 6]
    unseen, model = [kernel(rng) for _ in range(200)], KernelModel(told, totals)
    without = KernelModel([told[i] for i in usual], [totals[i] for i in usual])
    assert model.ms(unseen) == pytest.approx(without.ms(unseen), rel=1e-9)
    others = [network(rng) for _ in range(50)]
    errors = [whole_ms(model, kernels) / sum(true_ms(*k) for k in kernels) - 1 for kernels in others]
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


def test_a_class_that_only_a_strange_network_has_is_known() -> None:
    rng = random.Random(4)
    networks = [[k for k in network(rng) if k[0] == "pointwise" or i == 7] for i in range(20)]
    told = [timed(kernels, 3.0 if i == 7 else 1.0) for i, kernels in enumerate(networks)]
    model = KernelModel(told, [sum(true_ms(*k) for k in kernels) for kernels in networks])
    assert model.kinds == set(KINDS)


def test_sizes_beyond_those_timed_are_known(model: KernelModel) -> None:
    rng = random.Random(2)
    inside = [kernel(rng) for _ in range(100)]
    kind, size = kernel(rng)
    assert not model.beyond(inside).any()
    assert model.beyond([(kind, size._replace(c_in=4096)), (kind, size._replace(dilation=3)), (kind, size)]).tolist() == [
        True,
        True,
        False,
    ]


def test_far_away_a_prediction_stays_finite_and_positive(model: KernelModel) -> None:
    huge = Size(10**12, 10**9, 10**9, 10**8, 10**5, 10**5, 10**6, 31, 4, 9)
    none = Size(0, 0, 0, 0, 1, 1, 1)
    found = model.ms([(kind, size) for kind in KINDS for size in (huge, none)])
    assert np.isfinite(found).all() and (found > 0).all()


def test_order_and_batch_do_not_matter(model: KernelModel) -> None:
    rng = random.Random(3)
    kernels = network(rng)
    one_by_one = [float(model.ms([k])[3, 0]) for k in kernels]
    assert model.ms(kernels)[3] == pytest.approx(one_by_one)
    assert model.at([]).sum() == 0 and model.kinds == set(KINDS)


def test_a_dear_activation_is_told_from_a_cheap_one() -> None:
    """Half as much again where hard swish is applied; nothing for the others."""
    rng = random.Random(4)
    dear = ACTIVATIONS.index("hardswish")

    def activated() -> tuple[str, Size]:
        kind, size = kernel(rng)
        return kind, size._replace(activation=rng.choice([0, ACTIVATIONS.index("relu"), dear]))

    def ms(kind: str, size: Size) -> float:
        return true_ms(kind, size) * (1.5 if size.activation == dear else 1.0)

    networks = [[(*k, ms(*k)) for k in (activated() for _ in range(30))] for _ in range(30)]
    model = KernelModel(networks, [sum(t[2] for t in network) for network in networks])
    unseen = [activated() for _ in range(500)]
    middle = model.ms(unseen)[LEVELS // 2]
    off = np.log(middle / np.array([ms(*k) for k in unseen]))
    for code in (0, ACTIVATIONS.index("relu"), dear):  # 0.41 apart if activations were not told from each other
        assert abs(np.mean(off[[size.activation == code for _, size in unseen]])) < 0.03
    kind, size = unseen[0]
    other = size._replace(activation=ACTIVATIONS.index("tanh"))
    assert model.beyond([(kind, other), *unseen]).tolist() == [True, *[False] * 500]


def test_weights_that_stay_in_a_cache_only_in_small_networks_are_told() -> None:
    """Kernels of networks with larger maps take up to three times as long; so do whole networks."""
    rng = random.Random(5)

    def larger(kernels: list[tuple[str, Size]], times: int) -> list[tuple[str, Size]]:
        return [(kind, size._replace(read=size.read * times)) for kind, size in kernels]

    def factor(kernels: list[tuple[str, Size]]) -> float:
        footprint = footprint_of(size for _, size in kernels)
        return 1 + 2 / (1 + (4e7 / footprint) ** 2)

    networks = [larger(network(rng), times) for times in (1, 2, 4, 8, 16) * 10]
    told = [[(*k, factor(kernels) * true_ms(*k)) for k in kernels] for kernels in networks]
    model = KernelModel(told, [sum(ms for *_, ms in kernels) for kernels in told])
    unseen = [larger(network(rng), times) for times in (1, 2, 4, 8, 16) * 8]
    errors = [whole_ms(model, kernels) / (factor(kernels) * sum(true_ms(*k) for k in kernels)) - 1 for kernels in unseen]
    assert {round(factor(kernels)) for kernels in unseen} == {1, 2, 3}
    assert np.sqrt(np.mean(np.square(errors))) < 0.1


def test_between_footprints_weights_are_linear_and_constant_beyond(model: KernelModel) -> None:
    smallest, largest = model.weights(1), model.weights(1e30)
    assert smallest.tolist() == [1, *[0] * (LEVELS - 1)] and largest.tolist() == [*[0] * (LEVELS - 1), 1]
    for footprint in np.geomspace(1e3, 1e9, 50):
        found = model.weights(float(footprint))
        assert found.sum() == pytest.approx(1) and (found >= 0).all() and np.count_nonzero(found) <= 2
