"""Genotype text: parses blocks, one per line.

    input 3x160x160
    conv 32/2 act=relu6
    inverted_residual 16/1 expand=1 act=relu6
    inverted_residual 24/2 act=relu6
    head dropout=0.2

A line is `kind width/stride knob=value ... xN`: omitted knobs have the block's defaults, `xN` repeats the block, blocks
without a width or stride omit it, and `#` starts a comment. The input is channels x height x width; a genotype without one,
such as an anchor's, can be built for any input.

Blocks with branches (`add`, `concat`, ...) have them below, each starting with an indented `|`. A branch is a list of blocks;
an empty one is the identity:

    add act=relu x2
      | conv 64/1
        conv 64/1 act=none
      |
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from search_spaces.errors import InputError, quoted
from search_spaces.registry import BlockKind, Value, block_kind
from search_spaces.resources import LARGEST
from search_spaces.task import Input, parse_input

INPUT = "input"
MOST_BLOCKS = 1000
_DEEPEST = 8
_SIZE = re.compile(r"([0-9]{1,9})?(?:/([0-9]{1,9}))?")
Block = TypeVar("Block")
Make = Callable[[str, int | None, int, dict[str, Value], list[list[Block]]], Block]


def parse_blocks(text: str, source: str, make: Make[Block]) -> tuple[Input | None, list[Block]]:
    """The input, if given, and the blocks that `make` returns for kind, width, stride, knobs and branches.

    Runs in linear time. Raises InputError with `source` and line number, also for errors from `make`.
    """
    if len(text) > LARGEST:
        raise InputError(f"{source}: longer than {LARGEST} characters")
    return _Parser(text, source, make).parse()


class _Line(NamedTuple):
    """A line of text: number, indentation, whether it starts a branch, words."""

    number: int
    indent: int
    opens: bool
    words: list[str]


class _Parser(Generic[Block]):
    """Recursive-descent parser; indentation tells which branch a line belongs to."""

    def __init__(self, text: str, source: str, make: Make[Block]) -> None:
        self._lines = list(_split(text))
        self._source, self._make, self._next, self._size = source, make, 0, 0

    def parse(self) -> tuple[Input | None, list[Block]]:
        input = self._input()
        blocks = self._row(-1, 1, 0)
        if (line := self._peek()) is not None:
            raise self._error(line, "a branch starts with |, below a block that takes branches, and indented further")
        return input, blocks

    def _input(self) -> Input | None:
        """The input, if the first non-empty line gives it."""
        line = self._peek()
        if line is None or line.opens or line.words[0] != INPUT:
            return None
        self._next += 1
        try:
            return parse_input(" ".join(line.words[1:]))
        except InputError as error:
            raise self._error(line, error) from None

    def _peek(self) -> _Line | None:
        return self._lines[self._next] if self._next < len(self._lines) else None

    def _error(self, line: _Line, message: object) -> InputError:
        return InputError(f"{self._source}, line {line.number}: {message}")

    def _row(self, outer: int, times: int, depth: int) -> list[Block]:
        """Consecutive blocks indented further than `outer`, in a row that is repeated `times` times."""
        blocks: list[Block] = []
        while (line := self._peek()) is not None and line.indent > outer and not line.opens:
            self._next += 1
            if line.words[0] == INPUT:
                raise self._error(line, "the input may be given only once, on the first line")
            try:
                block, repeat = _alone(self._make, tuple(line.words))
                if block is None:
                    kind, width, stride, knobs, repeat = _parse_line(line.words)
                    branches = self._branches(line, times * repeat, depth)
                    block = self._make(kind.name, width, stride, knobs, branches)
                blocks += [block] * repeat
            except InputError as error:
                if str(error).startswith(f"{self._source}, line"):
                    raise
                raise self._error(line, error) from None
            self._count(line, times * repeat)
        return blocks

    def _count(self, line: _Line, times: int) -> None:
        """Counts a block or a branch, which may be empty, against the limit."""
        self._size += times
        if self._size > MOST_BLOCKS:
            raise self._error(line, f"more than {MOST_BLOCKS} blocks, including branches")

    def _branches(self, parent: _Line, times: int, depth: int) -> list[list[Block]]:
        first = self._peek()
        found: list[list[Block]] = []
        if depth == _DEEPEST:
            raise self._error(parent, f"branches nested more than {_DEEPEST} deep")
        while first and (line := self._peek()) and line.opens and line.indent == first.indent > parent.indent:
            self._next += 1
            self._count(line, times)
            found.append(self._row(line.indent, times, depth + 1))
        return found


def _split(text: str) -> Iterator[_Line]:
    """The non-empty lines; text after a leading | becomes a separate line."""
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].rstrip()
        start = said.lstrip()
        if start.startswith("|"):
            yield _Line(number, len(said) - len(start), True, [])
            start = start[1:].lstrip()
        if start:
            yield _Line(number, len(said) - len(start), False, start.split())


@lru_cache(maxsize=2**14)
def _alone(make: Make[Block], words: tuple[str, ...]) -> tuple[Block | None, int]:
    """(block, repeats) of one line; None for a kind with branches. Genotypes of a search have most of their lines in common."""
    kind, width, stride, knobs, repeat = _parse_line(list(words))
    return None if kind.has_branches else make(kind.name, width, stride, knobs, []), repeat


def _parse_line(words: list[str]) -> tuple[BlockKind, int | None, int, dict[str, Value], int]:
    """(kind, width, stride, knobs, repeats) of one line."""
    kind, rest = words[0], words[1:]
    known = block_kind(kind)
    repeat = 1
    if rest and re.fullmatch(r"x[0-9]+", rest[-1]):
        repeat = int(rest.pop()[1:10])
        if not 1 <= repeat <= MOST_BLOCKS:
            raise InputError(f"a line can be repeated 1 to {MOST_BLOCKS} times, not {repeat}")
    width, stride = None, 1
    if rest and "=" not in rest[0]:
        width, stride = _parse_size(rest.pop(0))
    knobs: dict[str, Value] = {}
    for word in rest:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{quoted(word)} is not knob=value")
        if name in knobs:
            raise InputError(f"knob {name} is given twice")
        knobs[name] = known.knob(name).parse(value)
    return known, width, stride, knobs, repeat


def _parse_size(word: str) -> tuple[int | None, int]:
    match = _SIZE.fullmatch(word)
    if not match:
        raise InputError(f"{quoted(word)} is not width/stride, such as 24/2")
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else 1
