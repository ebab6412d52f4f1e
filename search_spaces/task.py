"""Task: a network's input and number of classes; parsing and formatting of inputs (channels, height, width)."""

import re
from dataclasses import dataclass, replace
from typing import Protocol

from search_spaces.errors import InputError, shortened

Input = tuple[int, int, int]
_TEXT = re.compile("([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})")
_SIZE = re.compile("([0-9]{1,6})(?:x([0-9]{1,6}))?")
_CHANNELS = (1, 3)
_SIDES = (8, 4096)


class HasInput(Protocol):
    """Anything with an input, such as a genotype."""

    @property
    def input(self) -> Input | None: ...


@dataclass(frozen=True)
class Task:
    """Input shape (channels, height, width) and number of classes."""

    input: Input
    classes: int

    def of(self, genotype: "HasInput") -> "Task":
        """The task at the genotype's own input, or at this one if it has none."""
        return replace(self, input=genotype.input) if genotype.input else self


def input_text(input: Input) -> str:
    """Formats an input: 3x160x160."""
    return "x".join(map(str, input))


def parse_input(text: str) -> Input:
    """Parses an input; raises InputError giving an example."""
    match = _TEXT.fullmatch(text.strip())
    if not match:
        raise InputError(f'"{shortened(text)}" is not an input, channels x height x width, such as 3x224x224')
    return check_input((int(match[1]), int(match[2]), int(match[3])))


def check_input(input: Input) -> Input:
    """Returns the input; raises InputError unless it is grey or RGB with sides in range."""
    channels, *sides = input
    if channels not in _CHANNELS:
        raise InputError(f"an input has 3 channels (RGB) or 1 (grey), not {channels}")
    if not all(_SIDES[0] <= side <= _SIDES[1] for side in sides):
        raise InputError(f"an input is {_SIDES[0]} to {_SIDES[1]} pixels high and wide, not {sides[0]}x{sides[1]}")
    return input


def parse_size(text: str) -> tuple[int, int]:
    """Parses height and width, given as a side or HEIGHTxWIDTH; raises InputError giving an example."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise InputError(f'size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not "{shortened(text)}"')
    return int(match[1]), int(match[2] or match[1])


def size_text(input: Input) -> str:
    """Formats the height and width of an input, once if they are equal: 160, 96x160."""
    _, height, width = input
    return str(height) if height == width else f"{height}x{width}"
