"""Task: what a network is built for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Input shape (channels, height, width) and number of classes."""

    input: tuple[int, int, int]
    classes: int

    def at(self, size: int) -> "Task":
        """The same task on square pictures of another size."""
        return Task((self.input[0], size, size), self.classes)
