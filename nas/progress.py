"""Progress display: a bar with time left, and a line per finished step above it; plain lines without a terminal."""

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TimeElapsedColumn

from nas.console import make_bar, text_column


class Progress(Protocol):
    """Receives progress of searches, trainings and measurements."""

    def phase(self, title: str, total: int, done: int = 0) -> None:
        """Start a phase of `total` steps, `done` of them in an earlier session."""

    def step(self, line: str = "") -> None:
        """Finish a step."""

    def share(self, done: float, total: float, what: str) -> None:
        """Report progress of other work, such as reading images."""

    def working(self, epochs: float) -> None:
        """Report a trained epoch; `epochs` are expected to be left in this phase."""

    def best(self, text: str) -> None:
        """Show the best result so far."""

    def say(self, line: str) -> None:
        """Print a line."""


class Silent:
    """Shows nothing."""

    def phase(self, title: str, total: int, done: int = 0) -> None:
        pass

    def step(self, line: str = "") -> None:
        pass

    def share(self, done: float, total: float, what: str) -> None:
        pass

    def working(self, epochs: float) -> None:
        pass

    def best(self, text: str) -> None:
        pass

    def say(self, line: str) -> None:
        pass


class ConsoleProgress:
    """Shows progress on a console; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = make_bar(
            console,
            SpinnerColumn(),
            text_column("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            text_column("{task.fields[left]}"),
            text_column("{task.fields[best]}"),
        )
        self._task = self._bar.add_task("", total=None, left="", best="")
        self._best = ""
        self._started, self._epochs = time.monotonic(), 0
        self._share = 1.0

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def phase(self, title: str, total: int, done: int = 0) -> None:
        if not self._console.is_terminal:
            self._console.print(f"{title}: {done} of {total} done")
        self._bar.start()
        self._bar.reset(self._task, total=total, completed=done, description=title, left="", best=self._best)
        self._started, self._epochs = time.monotonic(), 0

    def step(self, line: str = "") -> None:
        if line:
            self._console.print(line, highlight=False)
        self._bar.advance(self._task)

    def share(self, done: float, total: float, what: str) -> None:
        self._bar.start()
        if done / total < self._share:  # other work has started
            self._started = time.monotonic()
        self._share = done / total
        left = (time.monotonic() - self._started) * (1 - self._share) / self._share if self._share else 0.0
        text = f"about {_duration(left)} left" if 0 < self._share < 1 else ""
        self._bar.update(self._task, completed=done, total=total, description=what, left=text)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def working(self, epochs: float) -> None:
        self._epochs += 1
        seconds = (time.monotonic() - self._started) / self._epochs * epochs
        self._bar.update(self._task, left=f"about {_duration(seconds)} left" if epochs else "")

    def best(self, text: str) -> None:
        self._best = text
        self._bar.update(self._task, best=text)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
