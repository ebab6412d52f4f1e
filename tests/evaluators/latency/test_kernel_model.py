"""The model of single kernels finds a made-up machine again, and knows what it was not shown."""

import random

import numpy as np
import pytest

from evaluators.latency.kernel_model import KernelModel
from evaluators.latency.kernels import Size

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


@pytest.fixture(scope="module")
def model() -> KernelModel:
    rng = random.Random(0)
    networks = [network(rng) for _ in range(30)]
    totals = [sum(true_ms(*k) for k in kernels) for kernels in networks]
    return KernelModel([timed(kernels, rng.uniform(1, 1.5)) for kernels in networks], totals)


def test_unseen_networks_are_predicted(model: KernelModel) -> None:
    rng = random.Random(1)
    networks = [network(rng) for _ in range(50)]
    errors = [model.ms(kernels).sum() / sum(true_ms(*k) for k in kernels) - 1 for kernels in networks]
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


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
