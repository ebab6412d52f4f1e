"""The space around a network: narrower and shallower ones at its input and smaller ones, otherwise like it.

Runs of equal-width blocks of one kind are stages. A stage keeps its kind and stride; its width, the expansion of each of its
blocks, and its depth are choices, up to the stage's own. So are other knobs in which the stage's blocks differ. Smaller widths
are multiples of 8, for which runtimes are fast.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from search_spaces.anchor import anchor, anchor_names
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype, read_genotype
from search_spaces.registry import Value, block_kind
from search_spaces.task import Input, size_text

NARROWER = "narrower:"
"""Prefix of the space's name; a hand-designed network or a genotype file follows."""

_SHARES = (0.875, 0.75, 0.625, 0.5)  # of a width, an expansion, or the side of the input
_EXPANDED = ("expand",)  # knobs that are widths, relative to the block's input


def narrower(name: str) -> dict[str, Any]:
    """The content of the space file of `narrower:NETWORK`, without anchors; raises InputError if there is no such network."""
    network = name.removeprefix(NARROWER)
    if network not in anchor_names() and Path(network).is_file():
        genotype = read_genotype(Path(network))
        input = genotype.input
    else:
        known = anchor(network)
        genotype, input = known.genotype, known.task.input
    if input is None:
        raise InputError(f"{network}: the genotype has no input; add a first line such as `input 3x224x224`")
    return space_around(genotype, input, network)


def space_around(genotype: Genotype, input: Input, name: str) -> dict[str, Any]:
    """The content of the space file around a network; raises InputError for parallel branches, or strides above 2."""
    blocks = genotype.padded("symmetric").blocks
    if odd := next((spec for spec in blocks if spec.branches or spec.stride > 2), None):
        has = "branches" if odd.branches else f"stride {odd.stride}"
        raise InputError(f'{name}: block "{odd.line}" has {has}; only sequences of blocks with strides 1 and 2 can be narrowed')
    stages = [_stage(f"s{i}", run) for i, run in enumerate(_runs(blocks), 1)]
    sides = [size_text(i) for i in _inputs(input, math.prod(spec.stride for spec in blocks))]
    return {
        "summary": f"{name} and narrower, shallower networks",
        "input": {"channels": input[0], "size": [int(side) if side.isdigit() else side for side in sides]},
        "overall_stride": math.prod(spec.stride for spec in blocks),
        "stages": stages,
    }


def _runs(blocks: Sequence[BlockSpec]) -> Iterator[list[BlockSpec]]:
    """Runs of one kind and width of which at most the first is strided; blocks without a width stand alone."""
    for _, group in groupby(blocks, lambda spec: (spec.kind, spec.width)):
        run: list[BlockSpec] = []
        for spec in group:
            if run and (spec.stride > 1 or spec.width is None):
                yield run
                run = []
            run.append(spec)
        yield run


def _stage(name: str, run: Sequence[BlockSpec]) -> dict[str, Any]:
    first = run[0]
    found: dict[str, Any] = {"name": name, "stride": first.stride, "depth": list(range(len(run), 0, -1))}
    if first.width is not None:
        found["width"] = _narrowed(first.width)
    knobs = {knob: _values(knob, [spec.knob(knob) for spec in run]) for knob in block_kind(first.kind).knobs}
    return found | {"blocks": {first.kind: knobs}}


def _narrowed(width: int) -> list[int]:
    """The width, and smaller multiples of 8."""
    found = [width, *(8 * round(share * width / 8) for share in _SHARES)]
    return [w for w in dict.fromkeys(found) if 8 <= w <= width] or [width]


def _values(knob: str, own: Sequence[Value]) -> Any:
    """What a space file says of a knob whose values in a stage are `own`."""
    if knob in _EXPANDED and max(map(float, own)) > 1:
        values = {float(v) for v in own} | {round(float(v) * s, 3) for v in own for s in _SHARES if float(v) * s >= 1}
        return {"each": sorted(values, reverse=True)}
    different = list(dict.fromkeys(own))
    return {"each": different} if len(different) > 1 else different[0]


def _inputs(input: Input, stride: int) -> list[Input]:
    """The input, and for squares smaller ones whose side is a multiple of the overall stride, at least three of these."""
    channels, height, width = input
    if height != width:
        return [input]
    sides = [stride * round(share * height / stride) for share in _SHARES]
    return [(channels, side, side) for side in sorted({s for s in sides if 3 * stride <= s < height} | {height})]
