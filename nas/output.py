"""Output: how much a command prints."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from nas.console import make_console
from nas.progress import ConsoleProgress, Progress, Silent


@dataclass(frozen=True)
class Output:
    """What a command prints: progress and the result for people, the result alone, or as JSON."""

    quiet: bool = False
    as_json: bool = False

    def progress(self) -> AbstractContextManager[Progress]:
        """The display of progress, a context manager."""
        return nullcontext(Silent()) if self.quiet or self.as_json else ConsoleProgress(make_console())

    def result(self, found: dict[str, Any], show: Callable[[Console], None]) -> None:
        """Print a result: one JSON object on one line, or what `show` prints."""
        if self.as_json:
            print(json.dumps(found))
        else:
            show(make_console())
