"""Task: what a network is built for; and inputs, (channels, height, width), as text."""

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
    """A genotype, as far as a task must know it."""

    @property
    def input(self) -> Input | None: ...


@dataclass(frozen=True)
class Task:
    """Input shape (channels, height, width) and number of classes."""

    input: Input
    classes: int

    def of(self, genotype: "HasInput") -> "Task":
        """The task of one network among others: at the input that its genotype names, at this one if it names none."""
        return replace(self, input=genotype.input) if genotype.input else self


def input_text(input: Input) -> str:
    """An input as it is written: 3x160x160."""
    return "x".join(map(str, input))


def parse_input(text: str) -> Input:
    """The input written as `text`; raises InputError that says what would be right."""
    match = _TEXT.fullmatch(text.strip())
    if not match:
        raise InputError(f'"{shortened(text)}" is not an input, channels x height x width, such as 3x224x224')
    return check_input((int(match[1]), int(match[2]), int(match[3])))


def check_input(input: Input) -> Input:
    """The input itself; raises InputError unless it is grey or RGB and its sides are in range."""
    channels, *sides = input
    if channels not in _CHANNELS:
        raise InputError(f"an input has 3 channels (RGB) or 1 (grey), not {channels}")
    if not all(_SIDES[0] <= side <= _SIDES[1] for side in sides):
        raise InputError(f"an input is {_SIDES[0]} to {_SIDES[1]} pixels high and wide, not {sides[0]}x{sides[1]}")
    return input


def parse_size(text: str) -> tuple[int, int]:
    """Height and width written as `text`: a side, or HEIGHTxWIDTH; raises InputError that says what would be right."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise InputError(f'size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not "{shortened(text)}"')
    return int(match[1]), int(match[2] or match[1])


def size_text(input: Input) -> str:
    """The height and width of an input, once where they are the same: 160, 96x160."""
    _, height, width = input
    return str(height) if height == width else f"{height}x{width}"
