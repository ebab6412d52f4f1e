"""The predictor: recovers a physical ground truth at every input, bounds, adds up by block, refuses what it has not seen."""

import random
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from evaluators.latency.device.choose_networks import choose_networks
from evaluators.latency.device.local_device import local_device
from evaluators.latency.device.profile import Calibration, MeasuredNetwork, Profile
from evaluators.latency.kernels.kernel import Timed
from evaluators.latency.kernels.lowering import LOWERING, lowered_blocks, total_kernels
from evaluators.latency.predict.bound import conformal_factor
from evaluators.latency.predict.estimators import kernels_timed
from evaluators.latency.predict.predictor import Predictor
from evaluators.latency.runtime import Graph
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

SPACE = replace(load_space("tiny"), inputs=((3, 24, 24), (3, 32, 32), (3, 32, 48)))
TASK = SPACE.task(10)


def true_ms(kernels: dict[str, tuple[int, ...]]) -> float:
    """A made-up machine: 4 us a kernel, 2e-8 ms a padded MAC (depthwise four times that), 3e-7 ms an element moved."""
    ms = 0.05
    for kind, (count, _, padded, moved, _) in kernels.items():
        ms += 4e-3 * count + (8e-8 if kind.startswith("depthwise") else 2e-8) * padded + 3e-7 * moved
    return ms


@cache
def synthetic(noise: float = 0.0, fit: int = 45, verify: int = 24) -> Profile:
    rng = np.random.default_rng(0)
    networks = []
    for chosen in choose_networks(SPACE, fit, verify, 0):
        kernels = total_kernels(chosen.genotype, chosen.genotype.task(chosen.classes))
        ms = true_ms(kernels) * float(np.exp(noise * rng.standard_normal()))
        networks.append(MeasuredNetwork(chosen.genotype.text, chosen.classes, chosen.split, ms, ms, ms, 30, 0.01, kernels))
    calibration = Calibration("tiny", SPACE.inputs, 0, "2026-01-01", 1.0, LOWERING, 0.3, 0.01, 0.0, 0.0, tuple(networks))
    return Profile("synthetic", local_device(), "2026-01-01", {}, {"tiny": calibration})


def fitted(profile: Profile, confidence: float = 0.95) -> Predictor:
    return Predictor(profile, profile.spaces["tiny"], confidence)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fitted(synthetic())


def unseen(count: int) -> list[Genotype]:
    rng = random.Random(99)
    return [SPACE.sample(rng) for _ in range(count)]


def test_recovers_a_linear_machine(predictor: Predictor) -> None:
    """Noise-free: what error remains is the pull of the prior, below 2 %."""
    assert predictor.quality["rmspe"] < 0.02 and predictor.quality["within_5"] == 1
    for genotype in unseen(5):
        expected = true_ms(total_kernels(genotype, genotype.task(10)))
        assert predictor.predict(genotype, TASK).ms == pytest.approx(expected, rel=0.05)


def test_blocks_add_up_and_the_bound_is_above(predictor: Predictor) -> None:
    for genotype, found in zip(unseen(3), predictor.predict_many(unseen(3), TASK), strict=True):
        assert len(found.block_ms) == len(genotype.blocks) and min(found.block_ms) >= 0
        assert sum(found.block_ms) == pytest.approx(found.ms, rel=1e-9)
        assert found.bound_ms == pytest.approx(found.ms * predictor.factor) and found.bound_ms >= found.ms
        assert predictor.predict(genotype, TASK) == found


def test_quality_reports_noise_honestly() -> None:
    quality = fitted(synthetic(noise=0.05)).quality
    assert quality["n"] == 24 and quality["confidence"] == 0.95
    assert 0.03 < quality["rmspe"] < 0.12 and quality["factor"] > 1.03


def test_an_operation_that_was_never_measured_is_named() -> None:
    profile = synthetic()
    calibration = profile.spaces["tiny"]
    networks = tuple(n for n in calibration.networks if "prelu" not in n.kernels or n.split == "verify")
    few = replace(profile, spaces={"tiny": replace(calibration, networks=networks)})
    predictor = fitted(few, confidence=0.5)
    genotype = Genotype.parse("conv 16/1\neesp 32/2\nhead")
    with pytest.raises(InputError, match=r'block "eesp 32/2" runs prelu'):
        predictor.predict(genotype, TASK)
    assert predictor.quality["refused"] > 0 and predictor.quality["n"] + predictor.quality["refused"] == 24


def test_networks_at_several_inputs_are_told_apart_in_one_call(predictor: Predictor) -> None:
    blocks = unseen(1)[0]
    networks = [blocks.at(input) for input in (*SPACE.inputs, *SPACE.inputs[:1])]
    found = predictor.predict_many([*networks, Genotype(blocks.blocks)], TASK)
    for genotype, prediction in zip(networks, found, strict=False):
        assert prediction.ms == pytest.approx(true_ms(total_kernels(genotype, genotype.task(10))), rel=0.05)
        assert prediction == predictor.predict(genotype, genotype.task(10))
        shares = predictor.class_ms(genotype, TASK)
        assert sum(shares.values()) == pytest.approx(prediction.ms, rel=1e-6)
    small, square, wide, again, unnamed = (prediction.ms for prediction in found)
    assert small < square < wide == unnamed and small == again, "one that names no input has the task's"


@pytest.mark.parametrize("input", [(3, 64, 64), (3, 48, 32), (1, 32, 32)])
def test_an_input_that_was_not_measured_is_refused_by_name(predictor: Predictor, input: tuple[int, int, int]) -> None:
    measured, asked = "measured at input 3x24x24, 3x32x32, 3x32x48", "x".join(map(str, input))
    genotypes = [g.at(input) if i == 1 else g for i, g in enumerate(unseen(3))]
    for call in (predictor.predict_many, predictor.covered):
        with pytest.raises(InputError, match=f"{measured}, not {asked}"):
            call(genotypes, TASK)
    with pytest.raises(InputError, match=f"not {asked}"):
        predictor.predict(Genotype(genotypes[0].blocks), genotypes[1].task(10))


def test_kernels_of_another_lowering_are_made_again() -> None:
    profile = synthetic()
    calibration = profile.spaces["tiny"]
    stale = tuple(replace(n, kernels={"gone": (1, 0, 0, 0, 0)}) for n in calibration.networks)
    old = replace(profile, spaces={"tiny": replace(calibration, lowering=LOWERING - 1, networks=stale)})
    assert fitted(old).quality == fitted(profile).quality


def test_kernels_of_another_lowering_that_cannot_be_made_again_are_measured_again() -> None:
    profile = synthetic()
    networks = tuple(replace(n, kernel_times=_timed(n, "fused8")) for n in profile.spaces["tiny"].networks)
    for lowering, message in ((LOWERING, None), (LOWERING - 1, "measure again with `nas device measure --space tiny`")):
        calibration = replace(profile.spaces["tiny"], lowering=lowering, networks=networks)
        with pytest.raises(InputError, match=message) if message else nullcontext():
            fitted(replace(profile, spaces={"tiny": calibration}))


def test_kernels_that_the_runtime_did_not_run_have_no_times_of_their_own() -> None:
    """As where it blocks by another number of channels: kernels are then summed by class."""
    profile = synthetic()
    networks = profile.spaces["tiny"].networks
    for graph in ("fused", "fused8"):
        timed = tuple(replace(n, kernel_times=_timed(n, graph)) for n in networks)
        assert kernels_timed(timed) == (graph == "fused")


def _timed(network: MeasuredNetwork, graph: Graph) -> tuple[Timed, ...]:
    genotype = Genotype.parse(network.genotype)
    lowered = lowered_blocks(genotype, genotype.task(network.classes), graph)
    return tuple((k.kind, k.size, 0.01) for block in lowered for k in block.kernels)


def test_each_runtime_has_the_kernels_of_its_own_graph(predictor: Predictor) -> None:
    profile = synthetic()
    calibration = replace(profile.spaces["tiny"], lowering=LOWERING - 1)
    device = replace(profile.device, runtime="torch_eager")
    eager = fitted(replace(profile, device=device, spaces={"tiny": calibration}))
    genotype = unseen(1)[0]
    task = genotype.task(10)
    assert set(eager.class_ms(genotype, task)) == {"network", *total_kernels(genotype, task, "eager")}
    assert set(predictor.class_ms(genotype, task)) == {"network", *total_kernels(genotype, task)}


def test_too_few_verify_networks_are_refused() -> None:
    profile = synthetic()
    networks = profile.spaces["tiny"].networks
    for count, enough in ((19, True), (18, False)):
        some = replace(profile.spaces["tiny"], networks=networks[: 45 + count])
        changed = replace(profile, spaces={"tiny": some})
        if enough:
            assert fitted(changed).factor >= 1
        else:
            with pytest.raises(InputError, match=r"18 verify networks are too few .* needs 19"):
                fitted(changed)


def test_conformal_factor_covers() -> None:
    """With 24 of 24 + 1 exchangeable ratios the largest covers 24 / 25 = 96 % on average; 4000 draws, sd 0.3 %."""
    rng = np.random.default_rng(1)
    ratios = np.exp(0.1 * rng.standard_normal((4000, 25)))
    covered = np.mean([row[-1] <= conformal_factor(row[:-1], 0.95) for row in ratios])
    assert 0.95 <= covered <= 0.97


def test_conformal_factor_is_the_right_rank() -> None:
    assert conformal_factor(range(1, 20), 0.95) == 19
    assert conformal_factor(range(1, 40), 0.95) == 38
    with pytest.raises(InputError, match="needs 19"):
        conformal_factor(range(18), 0.95)
