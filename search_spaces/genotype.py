"""BlockSpec and Genotype: a network as an input and a list of blocks; equal text means equal network.

For the text format, see search_spaces.genotype_text.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

from search_spaces.errors import InputError, shortened
from search_spaces.genotype_text import INPUT, parse_blocks
from search_spaces.registry import BlockKind, Value, block_kind, show
from search_spaces.resources import read_text
from search_spaces.task import Input, Task, check_input, input_text

PaddingRule = Literal["symmetric", "same"]
WIDEST = 65536
Blocks = tuple["BlockSpec", ...]


@dataclass(frozen=True)
class BlockSpec:
    """A block: kind, output width (channels; None for kinds without one), stride, non-default knobs, branches."""

    kind: str
    width: int | None
    stride: int
    knobs: tuple[tuple[str, Value], ...] = ()
    branches: tuple["Blocks", ...] = ()

    @classmethod
    def make(
        cls,
        kind: str,
        width: int | None = None,
        stride: int = 1,
        knobs: Mapping[str, Value] | None = None,
        branches: Sequence[Sequence["BlockSpec"]] = (),
    ) -> "BlockSpec":
        """A validated, canonical BlockSpec; raises InputError for an unknown kind or knob, or a value of the wrong type.

        A block with branches has the stride of its branches, which must agree.
        """
        known = block_kind(kind)
        if known.has_width != (width is not None):
            needs = "needs a width" if known.has_width else "takes no width"
            raise InputError(f"block {kind} {needs}")
        if width is not None and not 1 <= width <= WIDEST:
            raise InputError(f"the width of block {kind} must be 1 to {WIDEST}, not {width}")
        known.check_stride(stride)
        values = {name: known.knob(name).check(value) for name, value in (knobs or {}).items()}
        kept = tuple((n, values[n]) for n, k in known.knobs.items() if n in values and values[n] != k.default)
        inner = tuple(map(tuple, branches))
        return cls(kind, width, _branch_stride(known, inner) if known.has_branches else stride, kept, inner)

    @cached_property
    def line(self) -> str:
        """The block without its branches, on one line."""
        known = block_kind(self.kind)
        size = (str(self.width) if known.has_width else "") + (f"/{self.stride}" if known.has_stride else "")
        return " ".join([self.kind, *([size] if size else []), *(f"{name}={show(value)}" for name, value in self.knobs)])

    @property
    def text(self) -> str:
        """The block's text: one line, followed by its branches."""
        return "\n".join([self.line, *self._branch_lines()])

    def _branch_lines(self) -> Iterator[str]:
        for branch in self.branches:
            lines = _lines(branch) or [""]
            yield from (f"  {'|' if i == 0 else ' '} {line}".rstrip() for i, line in enumerate(lines))

    def repeated(self, times: int) -> list[str]:
        """The lines of `times` consecutive copies of this block."""
        return [self.line + (f" x{times}" if times > 1 else ""), *self._branch_lines()]

    def out_width(self, c_in: int) -> int:
        """Output channels for `c_in` input channels; raises InputError when the branches' widths do not agree."""
        if not self.branches:
            return self.width or c_in
        widths = [row_width(branch, c_in) for branch in self.branches]
        if block_kind(self.kind).concatenates:
            if sum(widths) > WIDEST:
                raise InputError(f'block "{self.line}": its branches total {sum(widths)} channels; the maximum is {WIDEST}')
            return sum(widths)
        if len(set(widths)) > 1:
            raise InputError(f'block "{self.line}": its branches are {_listed(widths)} channels wide; they must agree')
        return widths[0]

    def unstrided(self) -> "BlockSpec":
        """The block at stride 1."""
        branches = tuple(tuple(spec.unstrided() for spec in branch) for branch in self.branches)
        return replace(self, stride=1, branches=branches)

    def knob(self, name: str) -> Value:
        """The value of a knob, or its default."""
        return dict(self.knobs).get(name, block_kind(self.kind).knob(name).default)

    def arguments(self) -> dict[str, Value]:
        """Every knob with its value, including defaults."""
        return {name: knob.default for name, knob in block_kind(self.kind).knobs.items()} | dict(self.knobs)


@dataclass(frozen=True)
class Genotype:
    """A network as a sequence of blocks, from stem to head, with the input for training, timing and deployment.

    `input` is (channels, height, width), or None if unspecified.
    """

    blocks: Blocks
    input: Input | None = None

    @classmethod
    def parse(cls, text: str, source: str = "genotype") -> "Genotype":
        """Parses `text` in linear time; raises InputError with `source` and line number."""
        input, blocks = parse_blocks(text, source, BlockSpec.make)
        if not blocks:
            raise InputError(f"{source}: no blocks; lines have the form `kind width/stride knob=value ... xN`")
        _check_head(blocks, source)
        return cls(tuple(blocks), input)

    @classmethod
    def of(cls, blocks: Iterable[BlockSpec], input: Input | None = None) -> "Genotype":
        return cls(tuple(blocks), input)

    def at(self, input: Input) -> "Genotype":
        """The same blocks at another input; raises InputError for an invalid one."""
        return replace(self, input=check_input(input))

    def task(self, classes: int) -> Task:
        """The task at this input with `classes` classes; raises InputError if the genotype has no input."""
        if self.input is None:
            raise InputError("the genotype has no input; add a first line such as `input 3x224x224`")
        return Task(self.input, classes)

    def at_stride(self, overall: int) -> "Genotype":
        """The genotype with its first strides removed until its overall stride is at most `overall`."""
        blocks = list(self.blocks)
        for i, spec in enumerate(blocks):
            if math.prod(b.stride for b in blocks) <= overall:
                break
            blocks[i] = spec.unstrided()
        return replace(self, blocks=tuple(blocks))

    def padded(self, padding: PaddingRule) -> "Genotype":
        """The genotype with the padding of strided blocks changed to "symmetric" or TensorFlow's "same".

        Blocks that pad by a number of pixels, or do not support the padding, are unchanged.
        """
        return replace(self, blocks=tuple(_padded(spec, padding) for spec in self.blocks))

    @cached_property
    def text(self) -> str:
        """The canonical text, with one line per run of equal blocks."""
        opening = [f"{INPUT} {input_text(self.input)}"] if self.input else []
        return "".join(f"{line}\n" for line in [*opening, *_lines(self.blocks)])

    @cached_property
    def id(self) -> str:
        """A hash of the text, twelve hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return self.text


def read_genotype(path: Path) -> Genotype:
    """The genotype in a text file; raises InputError naming the file and line."""
    return Genotype.parse(read_text(path, "genotype file"), str(path))


def row_width(blocks: Iterable[BlockSpec], c_in: int) -> int:
    """Output channels of consecutive blocks for `c_in` input channels."""
    for spec in blocks:
        c_in = spec.out_width(c_in)
    return c_in


@lru_cache(maxsize=2**16)
def _padded(spec: BlockSpec, padding: PaddingRule) -> BlockSpec:
    if spec.stride == 1 or "padding" not in block_kind(spec.kind).knobs or spec.knob("padding") not in get_args(PaddingRule):
        return spec
    return BlockSpec.make(spec.kind, spec.width, spec.stride, {**dict(spec.knobs), "padding": padding})


def _lines(blocks: Iterable[BlockSpec]) -> list[str]:
    """The canonical lines of consecutive blocks, with a run of equal blocks written once."""
    return [line for spec, run in groupby(blocks) for line in spec.repeated(len(list(run)))]


def _branch_stride(kind: BlockKind, branches: tuple[Blocks, ...]) -> int:
    if not branches:
        raise InputError(f"block {kind.name} needs branches below it, each starting with an indented |")
    strides = [math.prod(spec.stride for spec in branch) for branch in branches]
    if len(set(strides)) > 1:
        raise InputError(f"the branches of block {kind.name} have strides {_listed(strides)}; they must agree")
    if any("classes" in block_kind(spec.kind).takes for branch in branches for spec in branch):
        raise InputError(f"a branch of block {kind.name} contains a head; a genotype has one head, its last block")
    return strides[0]


def _listed(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{shortened(', '.join(most))} and {last}"


def _check_head(blocks: list[BlockSpec], source: str) -> None:
    heads = [i for i, b in enumerate(blocks) if "classes" in block_kind(b.kind).takes]
    if heads != [len(blocks) - 1]:
        found = f"{len(heads)}, at block {shortened(', '.join(str(i + 1) for i in heads))}" if heads else "none"
        raise InputError(f"{source}: a genotype has one head, its last block; found {found}")
