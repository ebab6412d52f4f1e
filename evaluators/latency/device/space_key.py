"""Which spaces share a calibration: those whose networks are the same to a device."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.registry import Value, block_kind
from search_spaces.space import Choice, SearchSpace, Stage

_DIGITS = 12


def space_key(space: SearchSpace) -> str:
    """12 hexadecimal digits, of the inputs and, stage by stage, of strides, depths, widths and kinds of block with their knobs.

    Names, summary, anchors and the order of choices do not count, nor does a knob that is fixed at its default. Nor does the
    padding: the networks of a calibration are drawn padded in both ways.
    """
    content = [sorted(space.inputs), [_stage(stage) for stage in space.stages]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]


def _stage(stage: Stage) -> list[Any]:
    kinds = {kind: _knobs(kind, knobs) for kind, knobs in sorted(stage.kinds.items())}
    return [stage.stride, sorted(stage.depths), sorted(stage.widths), kinds]


def _knobs(kind: str, knobs: Mapping[str, Choice]) -> dict[str, Any]:
    defaults = block_kind(kind).knobs
    told = {name: choice for name, choice in sorted(knobs.items()) if choice.values != (defaults[name].default,)}
    return {name: [choice.each, _ordered(choice.values)] for name, choice in told.items()}


def _ordered(values: Iterable[Value]) -> list[Value]:
    return sorted(values, key=json.dumps)
