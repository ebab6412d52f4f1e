"""BlockSpec and Genotype: a network as a list of blocks, written one a line; equal text means equal network.

    conv 32/2 act=relu6
    inverted_residual 16/1 expand=1 act=relu6
    inverted_residual 24/2 act=relu6
    head dropout=0.2

A line is `kind width/stride knob=value ... xN`: knobs left out have the block's defaults, `xN` repeats the line, a block
that has no width or stride of its own leaves it out, and `#` starts a comment.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

from search_spaces.errors import InputError
from search_spaces.registry import Value, block_kind, show

_SIZE = re.compile(r"([0-9]{1,9})?(?:/([0-9]{1,9}))?")
_MOST_BLOCKS = 1000
_WIDEST = 65536


@dataclass(frozen=True)
class BlockSpec:
    """One block: its kind, output width (channels; None if it has none of its own), stride, and non-default knobs in order."""

    kind: str
    width: int | None
    stride: int
    knobs: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def make(
        cls, kind: str, width: int | None = None, stride: int = 1, knobs: Mapping[str, Value] | None = None
    ) -> "BlockSpec":
        """A checked, canonical BlockSpec; raises InputError for an unknown kind or knob, or a value of the wrong type."""
        known = block_kind(kind)
        if known.has_width != (width is not None):
            needs = "needs a width" if known.has_width else "takes no width of its own"
            raise InputError(f"block {kind} {needs}")
        if width is not None and not 1 <= width <= _WIDEST:
            raise InputError(f"the width of block {kind} must be 1 to {_WIDEST}, not {width}")
        if stride not in ((1, 2) if known.has_stride else (1,)):
            raise InputError(f"the stride of block {kind} must be {'1 or 2' if known.has_stride else '1'}, not {stride}")
        values = {name: known.knob(name).check(value) for name, value in (knobs or {}).items()}
        kept = tuple((n, values[n]) for n, k in known.knobs.items() if n in values and values[n] != k.default)
        return cls(kind, width, stride, kept)

    @property
    def text(self) -> str:
        known = block_kind(self.kind)
        size = (str(self.width) if known.has_width else "") + (f"/{self.stride}" if known.has_stride else "")
        return " ".join([self.kind, *([size] if size else []), *(f"{name}={show(value)}" for name, value in self.knobs)])

    def knob(self, name: str) -> Value:
        """The value of a knob, its default when it is not written."""
        return dict(self.knobs).get(name, block_kind(self.kind).knob(name).default)

    def arguments(self) -> dict[str, Value]:
        """Every knob with its value."""
        return {name: knob.default for name, knob in block_kind(self.kind).knobs.items()} | dict(self.knobs)


@dataclass(frozen=True)
class Genotype:
    """A network as a sequence of blocks, stem and head included."""

    blocks: tuple[BlockSpec, ...]

    @classmethod
    def parse(cls, text: str, source: str = "genotype") -> "Genotype":
        """The genotype written as `text`; raises InputError with `source` and line number."""
        blocks: list[BlockSpec] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                blocks += _parse_line(words)
            except InputError as error:
                raise InputError(f"{source}, line {number}: {error}") from None
            if len(blocks) > _MOST_BLOCKS:
                raise InputError(f"{source}, line {number}: more than {_MOST_BLOCKS} blocks")
        if not blocks:
            raise InputError(f"{source}: no blocks; a line is `kind width/stride knob=value ... xN`")
        _check_head(blocks, source)
        return cls(tuple(blocks))

    @classmethod
    def of(cls, blocks: Iterable[BlockSpec]) -> "Genotype":
        return cls(tuple(blocks))

    def at_stride(self, overall: int) -> "Genotype":
        """The genotype with its first strides removed until it shrinks pictures by at most `overall`."""
        blocks = list(self.blocks)
        for i, spec in enumerate(blocks):
            if math.prod(b.stride for b in blocks) <= overall:
                break
            blocks[i] = replace(spec, stride=1)
        return Genotype(tuple(blocks))

    @cached_property
    def text(self) -> str:
        """The canonical text, one line for a run of equal blocks."""
        runs = [(line, len(list(group))) for line, group in groupby(b.text for b in self.blocks)]
        return "".join(f"{line} x{n}\n" if n > 1 else f"{line}\n" for line, n in runs)

    @cached_property
    def id(self) -> str:
        """Twelve hex digits that stand for the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return self.text


def read_genotype(path: Path) -> Genotype:
    """The genotype in a text file; raises InputError naming the file and line."""
    try:
        return Genotype.parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _parse_line(words: list[str]) -> list[BlockSpec]:
    kind, rest = words[0], words[1:]
    known = block_kind(kind)
    repeat = 1
    if rest and re.fullmatch(r"x[0-9]+", rest[-1]):
        repeat = int(rest.pop()[1:10])
        if not 1 <= repeat <= _MOST_BLOCKS:
            raise InputError(f"a line is repeated 1 to {_MOST_BLOCKS} times, not {repeat}")
    width, stride = None, 1
    if rest and "=" not in rest[0]:
        width, stride = _parse_size(rest.pop(0))
    knobs: dict[str, Value] = {}
    for word in rest:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f'"{word}" is not knob=value')
        if name in knobs:
            raise InputError(f"knob {name} is given twice")
        knobs[name] = known.knob(name).parse(value)
    return [BlockSpec.make(kind, width, stride, knobs)] * repeat


def _parse_size(word: str) -> tuple[int | None, int]:
    match = _SIZE.fullmatch(word)
    if not match:
        raise InputError(f'"{word}" is not width/stride, such as 24/2')
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else 1


def _check_head(blocks: list[BlockSpec], source: str) -> None:
    heads = [i for i, b in enumerate(blocks) if "classes" in block_kind(b.kind).takes]
    if heads != [len(blocks) - 1]:
        found = "none" if not heads else f"{len(heads)}, at block {', '.join(str(i + 1) for i in heads)}"
        raise InputError(f"{source}: a genotype ends with its one head block; found {found}")
