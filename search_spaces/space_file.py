"""Search spaces in YAML: load_space reads one by name or from a file, or makes one around a network.

A space is a sequence of stages. A stage is a run of equal-width blocks of one kind; in the YAML, a list is a choice, anything
else is fixed. `each: [...]` is chosen separately for every block of the stage. The first block of a stage has the stage's
stride. A block kind without a width (a pooling, the head) occurs once.

    summary: one sentence
    input: {channels: 3, size: [96, 128, 96x160, 224]}
    stages:
      - name: stem
        width: [16, 24, 32]
        stride: 2
        blocks: {conv: {act: [relu, hard_swish]}}
      - name: s1
        width: [16, 24]
        depth: [0, 1, 2]
        blocks:
          inverted_residual: {kernel: [3, 5, 7], expand: {each: [3, 4, 6]}}
          shuffle: {}

An input size is the side of a square, or HEIGHTxWIDTH; `input: [3, 224, 224]` is one fixed input.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from search_spaces.anchor import anchor, anchor_names
from search_spaces.errors import InputError, near_miss, quoted, shortened
from search_spaces.genotype import WIDEST
from search_spaces.genotype_text import MOST_BLOCKS
from search_spaces.narrower import NARROWER, narrower
from search_spaces.registry import BlockKind, block_kind
from search_spaces.schema import checked, strict
from search_spaces.space import INPUT, Choice, SearchSpace, Stage
from search_spaces.task import Input, check_input, parse_size
from search_spaces.yaml_files import YamlFiles

_SPACES = YamlFiles("spaces", "search_spaces.spaces", "search space")
_MOST_CHOICES = 100  # values of one knob
_MOBILE = 96  # pixels from which a side is for the space `mobile`


def _listed(value: Any) -> Any:
    """Wraps a fixed value as a choice of one."""
    return value if isinstance(value, list) else [value]


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise InputError("a value is listed twice")
    return values


def _some_blocks(depths: list[int]) -> list[int]:
    if not any(depths):
        raise InputError("at least one depth must be above 0")
    return depths


_Several = (BeforeValidator(_listed), Field(min_length=1, max_length=_MOST_CHOICES), AfterValidator(_different))


@strict
@dataclass(frozen=True)
class _SpaceFile:
    """The content of a space file."""

    summary: str
    input: Any
    stages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100)]
    anchors: Annotated[dict[str, str], BeforeValidator(lambda given: given or {})] = field(default_factory=dict)
    other_anchors: Annotated[dict[str, str], BeforeValidator(lambda given: given or {})] = field(default_factory=dict)
    overall_stride: Annotated[int, Field(ge=1, le=4096)] = 32


@strict
@dataclass(frozen=True)
class _InputFile:
    """The inputs, at one or several sizes."""

    channels: int
    size: Annotated[list[Any], BeforeValidator(_listed), Field(min_length=1, max_length=_MOST_CHOICES)]


@strict
@dataclass(frozen=True)
class _StageFile:
    """A stage in a space file."""

    name: Annotated[str, Field(pattern=r"^\w[\w-]{0,39}$")]
    blocks: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    stride: Annotated[int, Field(ge=1, le=2)] = 1
    depth: Annotated[list[Annotated[int, Field(ge=0, le=MOST_BLOCKS)]], *_Several, AfterValidator(_some_blocks)] = field(
        default_factory=lambda: [1]
    )
    width: Annotated[list[Annotated[int, Field(ge=1, le=WIDEST)]], *_Several] | None = None


@strict
@dataclass(frozen=True)
class _EachFile:
    """Values of a knob that is chosen separately for every block."""

    each: Any


def space_names() -> list[str]:
    return _SPACES.names()


def space_text(name_or_path: str) -> str:
    """The YAML of the search space called `name`, in a file, or around a network (search_spaces.narrower).

    Raises InputError if there is none.
    """
    if name_or_path.startswith(NARROWER):
        return yaml.safe_dump(_around(name_or_path)[1], sort_keys=False, allow_unicode=True)
    return _SPACES.text(name_or_path)


def load_space(name_or_path: str) -> SearchSpace:
    """The search space called `name`, in a YAML file, or around a network; raises InputError naming the file and place."""
    source, data = _around(name_or_path) if name_or_path.startswith(NARROWER) else _SPACES.read(name_or_path)
    try:
        return _space(source, data)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _around(name: str) -> tuple[str, dict[str, Any]]:
    """(source, mapping) of the space around a network, with the hand-designed networks of our space for such inputs."""
    data = narrower(name)
    source = f"narrower-{Path(name.removeprefix(NARROWER)).name.removesuffix('.txt').replace(':', '-')}.yaml"
    try:
        space = _space(source, data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    theirs = _SPACES.read("mobile" if min(space.input[1:]) >= _MOBILE else "tiny")[1]["anchors"]
    return source, data | {"anchors": {known: space.place_of(anchor(known)) for known in theirs}}


def _space(source: str, data: dict[str, Any]) -> SearchSpace:
    given = checked(_SpaceFile, data, "the space")
    stages = tuple(_stage(entry, f"stage {entry.get('name', i + 1)}") for i, entry in enumerate(given.stages))
    inputs = _inputs(given.input)
    _check_sense(stages, inputs)
    for name in (*given.anchors, *given.other_anchors):
        if name not in anchor_names():
            raise InputError(f"anchors: there is no anchor {quoted(name)}{near_miss(name, anchor_names())}")
    return SearchSpace(
        name=source.rpartition("/")[2].rpartition(".")[0],
        summary=given.summary,
        inputs=inputs,
        stages=stages,
        anchors=given.anchors,
        other_anchors=given.other_anchors,
        overall_stride=given.overall_stride,
    )


def _check_sense(stages: Sequence[Stage], inputs: Sequence[Input]) -> None:
    """Raises InputError for stages that do not form a network."""
    if len({s.name for s in stages} | {INPUT}) <= len(stages):
        raise InputError(f'two stages have the same name, or one is called "{INPUT}"')
    heads = [[_is_head(kind) for kind in stage.kinds] for stage in stages]
    if not all(heads[-1]) or stages[-1].depths != (1,) or any(map(any, heads[:-1])):
        raise InputError("the last stage must be the head, once, and no other stage may have one")
    if (blocks := sum(max(stage.depths) for stage in stages)) > MOST_BLOCKS:
        raise InputError(f"its networks have up to {blocks} blocks; the maximum is {MOST_BLOCKS}")
    shrinks, least = math.prod(stage.stride for stage in stages), min(min(input[1:]) for input in inputs)
    if shrinks > least:
        raise InputError(f"its overall stride is {shrinks}, but its smallest input has a side of {least} pixels")


def _is_head(kind: str) -> bool:
    return "classes" in block_kind(kind).takes


def _inputs(given: object) -> tuple[Input, ...]:
    """The inputs by size; raises InputError unless given as [channels, height, width] or channels with sizes."""
    if isinstance(given, dict):
        sized = checked(_InputFile, given, INPUT)
        found = [check_input((sized.channels, *_sides(size))) for size in sized.size]
    elif isinstance(given, list) and len(given) == 3:
        found = [check_input((_whole(given[0]), _whole(given[1]), _whole(given[2])))]
    else:
        example = "[channels, height, width], or {channels: 3, size: [96, 128]}"
        raise InputError(f"input must be {example}, not {quoted(given)}")
    if len(set(found)) < len(found):
        raise InputError("input: a size is listed twice")
    return tuple(sorted(found, key=lambda i: (math.prod(i), i)))


def _sides(size: object) -> tuple[int, int]:
    """Height and width of a size, a side or HEIGHTxWIDTH."""
    try:
        return parse_size(str(size))
    except InputError as error:
        raise InputError(f"{INPUT}: {error}") from None


def _whole(value: object) -> int:
    if type(value) is not int:
        raise InputError(f"input: channels, heights and widths must be whole numbers, not {quoted(value)}")
    return value


def _stage(entry: dict[str, Any], where: str) -> Stage:
    given = checked(_StageFile, entry, shortened(where))
    try:
        kinds = {kind: _knobs(given, kind, knobs or {}) for kind, knobs in given.blocks.items()}
        if given.width is None and any(block_kind(kind).has_width for kind in kinds):
            raise InputError("width is missing")
    except InputError as error:
        raise InputError(f"stage {given.name}: {error}") from None
    return Stage(given.name, given.stride, tuple(given.depth), tuple(given.width or [1]), kinds)


def _knobs(stage: _StageFile, kind: str, knobs: Mapping[str, Any]) -> dict[str, Choice]:
    known = block_kind(kind)
    if known.has_branches:
        raise InputError(f"block {kind} has branches, which stages do not support")
    for stride in {stage.stride, *([1] if known.has_width and max(stage.depth) > 1 else [])}:
        known.check_stride(stride)
    return {name: _choice(known, name, value) for name, value in knobs.items()}


def _choice(kind: BlockKind, name: str, value: object) -> Choice:
    knob, each = kind.knob(name), isinstance(value, dict)
    if isinstance(value, dict):
        value = checked(_EachFile, value, f"knob {name}").each
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= _MOST_CHOICES:
        raise InputError(f"knob {name}: a list has 1 to {_MOST_CHOICES} values to choose from, not {len(values)}")
    taken = tuple(knob.check(v) for v in values)
    if len(set(taken)) < len(taken):
        raise InputError(f"knob {name}: a value is listed twice")
    return Choice(taken, each)
