"""How far a lowering is from the kernels that the runtime reports, on networks sampled from a space."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evaluators.latency.kernels.kernel import Size
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space
from search_spaces.task import Task

Kernels = Counter[tuple[str, Size]]
Lowered = Callable[[Genotype, Task], Kernels]
OfTheRuntime = Callable[[Genotype, Task, Path], Kernels]


def difference(lowered: Lowered, of_the_runtime: OfTheRuntime, space_name: str, each: int, path: Path) -> float:
    """Kernels that only one of the two has, over those of the runtime: `each` networks per padding rule, at most 64x64."""
    space, rng = load_space(space_name), random.Random(11)
    task = Task((3, min(space.input[1], 64), min(space.input[1], 64)), 10)
    ways = [replace(space, padding=padding) for padding in ("symmetric", "same")]
    different = total = 0
    for genotype in (way.sample(rng).at(task.input) for way in ways for _ in range(each)):
        ours, theirs = lowered(genotype, task), of_the_runtime(genotype, task, path)
        different += (ours - theirs).total() + (theirs - ours).total()
        total += theirs.total()
    return different / total
