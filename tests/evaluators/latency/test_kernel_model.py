"""The model of single kernels finds a made-up machine again, and knows what it was not shown."""

import random

import numpy as np
import pytest

from evaluators.latency.kernels.kernel import ACTIVATIONS, Size
from evaluators.latency.predict.kernel_model import KernelModel

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


def whole_ms(model: KernelModel, kernels: list[tuple[str, Size]], bent: bool = False) -> float:
    total = float(model.ms(kernels).sum())
    return total * model.together(total, bent)


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
    one_by_one = [float(model.ms([k])[0]) for k in kernels]
    assert model.ms(kernels) == pytest.approx(one_by_one)
    assert model.ms([]).sum() == 0 and model.kinds == set(KINDS)


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
    off = np.log(model.ms(unseen) / np.array([ms(*k) for k in unseen]))
    for code in (0, ACTIVATIONS.index("relu"), dear):  # 0.41 apart if activations were not told from each other
        assert abs(np.mean(off[[size.activation == code for _, size in unseen]])) < 0.03
    kind, size = unseen[0]
    other = size._replace(activation=ACTIVATIONS.index("tanh"))
    assert model.beyond([(kind, other), *unseen]).tolist() == [True, *[False] * 500]


def test_large_networks_that_take_more_than_their_kernels_are_told() -> None:
    """A machine on which a network takes its sum to the power of 1.1; level beyond the networks that were timed."""
    rng = random.Random(5)
    kernels = network(rng)
    told = [(*k, true_ms(*k)) for k in kernels]
    once = sum(ms for *_, ms in told)
    model = KernelModel([told * repeats for repeats in range(1, 31)], [(repeats * once) ** 1.1 for repeats in range(1, 31)])
    for repeats in (2, 10, 25):
        assert whole_ms(model, kernels * repeats, bent=True) == pytest.approx((repeats * once) ** 1.1, rel=0.01)
    assert whole_ms(model, kernels * 2) > 1.05 * (2 * once) ** 1.1 and whole_ms(model, kernels * 29) < (29 * once) ** 1.1
    assert model.together(1e6, True) == model.together(1e9, True) and model.together(1e6, False) == model.together(1, False)
