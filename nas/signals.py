"""Signal handling: SIGTERM raises KeyboardInterrupt like Ctrl-C, so that a command can clean up and say how to resume."""

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
_SOON_S = 0.05
_at_once = threading.Event()


class Lost(KeyboardInterrupt):
    """An essential process is lost; the message says which. Like Ctrl-C, it may be raised at any point."""


def end_at_once() -> None:
    """Make the command exit without libraries' clean-up, which would wait for a lost process."""
    _at_once.set()


class Stop:
    """Context in which Ctrl-C and SIGTERM raise KeyboardInterrupt in the main thread; `exit_code` depends on the signal.

    Repeated signals within seconds, as sent by `timeout` and impatient users, do not interrupt the clean-up. Signals that were
    ignored before, as in a shell's background job, stay ignored. An interrupt that Python ignores, because it was raised in a
    `__del__` method or a callback, is repeated a moment later.
    """

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self._last = -_AGAIN_S
        self._before: dict[signal.Signals, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> "Stop":
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in self._before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self._stop)
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._ignored
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._unraisable
        if _at_once.is_set():
            _end(int(error.code or 0) if isinstance(error, SystemExit) else error is not None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _AGAIN_S:
            return
        self._last, self.exit_code = now, 128 + number
        raise KeyboardInterrupt

    def _ignored(self, found: "sys.UnraisableHookArgs") -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            self._unraisable(found)
            return
        number = signal.SIGUSR2 if isinstance(found.exc_value, Lost) else self.exit_code - 128
        self._last = -_AGAIN_S
        again = threading.Timer(_SOON_S, signal.pthread_kill, [threading.main_thread().ident, number])
        again.daemon = True
        again.start()


def end_stopped(code: int) -> NoReturn:
    """Exit after a signal, with the signal's exit code.

    Skips the interpreter's own shutdown, which has crashed while threads of interrupted libraries were running, and which exits
    by SIGINT if the KeyboardInterrupt was raised inside exec'd code, as dataclasses use it.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()
    _end(code)


def _end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
