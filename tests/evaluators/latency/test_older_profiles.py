"""A profile of an older lowering is read as if it had been measured under this one."""

import random
from dataclasses import replace

from evaluators.latency.device.profile import MeasuredNetwork
from evaluators.latency.kernels.kernel import Size
from evaluators.latency.kernels.lowering import lowered_blocks, total_kernels
from evaluators.latency.predict.older_profiles import relowered
from search_spaces.genotype import Genotype

LINES = "conv 32/2 act=hard_swish\ninverted_residual 40/1 act=relu6\nshuffle 116/2\nshuffle 116/1 act=hard_swish\nhead"
GENOTYPE = Genotype.parse(LINES).at((3, 32, 32))
TASK = GENOTYPE.task(10)


def measured() -> MeasuredNetwork:
    kernels = [kernel for block in lowered_blocks(GENOTYPE, TASK) for kernel in block.kernels]
    times = tuple((k.kind, k.size, float(i)) for i, k in enumerate(kernels))
    return MeasuredNetwork(GENOTYPE.text, 10, "fit", 1.0, 1.0, 1.0, 9, 0.01, total_kernels(GENOTYPE, TASK), kernel_times=times)


def as_before(kind: str, size: Size) -> tuple[str, Size]:
    """As the lowering before told them: no activations, one class for convolutions in NCHW."""
    return "conv_plain" if kind == "depthwise_plain" else kind, size._replace(activation=0)


def test_activations_and_classes_are_found_again() -> None:
    now = measured()
    before = tuple((*as_before(kind, size), ms) for kind, size, ms in now.kernel_times)
    kinds = {kind for kind, _, _ in now.kernel_times}
    assert "depthwise_plain" in kinds and len({size.activation for _, size, _ in now.kernel_times}) > 3
    assert before != now.kernel_times
    assert relowered(replace(now, kernels={}, kernel_times=before), "fused") == now
    assert relowered(now, "fused") == now


def test_a_kernel_that_the_lowering_lacks_stays() -> None:
    alien = ("pointwise", Size(1, 2, 3, 4, 5, 6, 7), 0.5)
    now = measured()
    times = list(now.kernel_times)
    times.insert(random.Random(0).randrange(len(times)), alien)
    found = relowered(replace(now, kernel_times=tuple(times)), "fused").kernel_times
    assert found == tuple(times)


def test_end_to_end_times_alone_take_the_runtime_s_graph() -> None:
    found = relowered(replace(measured(), kernel_times=()), "eager")
    assert found.kernels == total_kernels(GENOTYPE, TASK, "eager") and found.kernel_times == ()
