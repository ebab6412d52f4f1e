"""The key under which spaces share a calibration: equal for spaces with the same networks."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.registry import Value, block_kind
from search_spaces.space import Choice, SearchSpace, Stage

_DIGITS = 12


def space_key(space: SearchSpace) -> str:
    """A hash of 12 hex digits over the inputs and, per stage, the stride, depths, widths and block kinds with their knobs.

    Ignores names, summary, anchors, the order of choices, and knobs fixed at their default. Ignores the padding too: a
    calibration includes networks with both paddings.
    """
    content = [sorted(space.inputs), [_stage(stage) for stage in space.stages]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]


def _stage(stage: Stage) -> list[Any]:
    kinds = {kind: _knobs(kind, knobs) for kind, knobs in sorted(stage.kinds.items())}
    return [stage.stride, sorted(stage.depths), sorted(stage.widths), kinds]


def _knobs(kind: str, knobs: Mapping[str, Choice]) -> dict[str, Any]:
    defaults = block_kind(kind).knobs
    written = {name: choice for name, choice in sorted(knobs.items()) if choice.values != (defaults[name].default,)}
    return {name: [choice.each, _ordered(choice.values)] for name, choice in written.items()}


def _ordered(values: Iterable[Value]) -> list[Value]:
    return sorted(values, key=json.dumps)
