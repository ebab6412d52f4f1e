"""Stopping a command: SIGTERM ends it as Ctrl-C does, from within, so that it can say what is kept."""

import atexit
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = tuple(128 + number for number in _SIGNALS)  # exit codes
_AGAIN_S = 5.0
_at_once = threading.Event()


class Lost(KeyboardInterrupt):
    """What the work cannot do without is gone; the text says what. Like Ctrl-C it may come at any moment."""


def end_at_once() -> None:
    """Has the command end without the clean-up of libraries, one of which would wait in it for what is gone."""
    _at_once.set()


class Stop:
    """While it is entered, Ctrl-C and SIGTERM raise KeyboardInterrupt in the main thread; `exit_code` tells which came.

    A signal that comes again within seconds, as `timeout` and impatient people send it, leaves the end that is under way in
    peace. One that was ignored before, as in the background of a shell, stays ignored.
    """

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self._last = -_AGAIN_S
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stop":
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in self._before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self._stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if _at_once.is_set():
            _end(int(error.code or 0) if isinstance(error, SystemExit) else error is not None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _AGAIN_S:
            return
        self._last, self.exit_code = now, 128 + number
        raise KeyboardInterrupt


def end_stopped(code: int) -> NoReturn:
    """Ends the process after a signal, with the signal's exit code.

    Python's own end is left out: threads of libraries that were interrupted in their work have crashed it, and a
    KeyboardInterrupt in a string's code (dataclasses are made so) changes the code.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()
    _end(code)


def _end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
