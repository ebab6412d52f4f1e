"""RaySession: starts or joins Ray, monitors it, and shuts it down with all its processes."""

import _thread
import atexit
import contextlib
import logging
import os
import secrets
import select
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
    "RAY_prestart_worker_first_driver": "0",  # else ray.init hangs if the worker that it waits for is killed
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():  # Ray reads these on import
    os.environ.setdefault(_name, _value)


def _ensure_home() -> None:
    """Ray needs a home folder on import; provide a temporary one for users without."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="nas-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)


def _has_token() -> bool:
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return True
    return os.access(os.path.expanduser("~/.ray/auth_token"), os.R_OK)


_ensure_home()
if _has_token():
    # like `ray start --head` with a token; a head without authentication ignores it
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import psutil  # noqa: E402
import ray  # noqa: E402

from evaluators.imports import HOME, import_path  # noqa: E402
from nas.executors import guard  # noqa: E402
from nas.executors.scratch import Scratch  # noqa: E402
from nas.executors.sharing import Node  # noqa: E402
from nas.signals import Lost, end_at_once  # noqa: E402
from search_spaces.errors import InputError  # noqa: E402

_EVERY_S, _PATIENCE_S, _END_S, _REACTION_S = 0.2, 3.0, 6.0, 10.0


class RaySession:
    """Local Ray with `workers` processors, or the cluster at `address`; `folder` is the session's scratch folder.

    If an essential Ray process dies, the main thread is interrupted by `Lost`; Ray itself would wait for it and then end this
    process. If the main thread does not react, this process exits with code 2 and prints `sentence`, which says how to resume;
    so it does if Ray's code ends this process. Raises Lost if Ray cannot be started, InputError if no cluster answers.
    """

    def __init__(self, workers: int | None, address: str | None, store_bytes: int, sentence: str = "") -> None:
        self._scratch, self._sentence = Scratch(), sentence
        self._guard = _start_guard(sentence, self.folder)
        self._watch: _Watch | None = None
        try:
            self._start(workers, address, store_bytes)
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        return self._scratch.path

    @property
    def lost(self) -> str | None:
        """Which Ray process is lost, if any."""
        return self._watch.lost if self._watch else None

    def nodes(self) -> list[Node]:
        """Nodes that are alive."""
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [Node(int(found.get("CPU", 0)), int(found.get("GPU", 0))) for found in resources]

    def close(self) -> None:
        """Shut down everything that was started here."""
        if self._watch:
            self._watch.close()
        if self.lost or not _shut_down():
            end_at_once()
        self._guard.communicate(b"end\n")
        self._scratch.close()

    def _start(self, workers: int | None, address: str | None, store_bytes: int) -> None:
        _silence_logging()
        with _keep_sigterm_handler(), _imports_from_home(self.folder), _stderr_to(self.folder / "start.log"):
            _join(address) if address else _start_here(workers, store_bytes, self.folder)
        self._tell_guard(b"started\n")
        self._watch = _Watch(self._exit_now)

    def _tell_guard(self, line: bytes) -> None:
        assert self._guard.stdin
        with contextlib.suppress(BrokenPipeError):  # the guard may have been killed
            self._guard.stdin.write(line)
            self._guard.stdin.flush()

    def _exit_now(self) -> None:
        """Exit immediately, because the main thread does not react."""
        print(f"nas: {self.lost}; {self._sentence}", file=sys.stderr, flush=True)
        self._tell_guard(b"end\n")
        os._exit(2)


def _start_here(workers: int | None, store_bytes: int, folder: Path) -> None:
    if not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else Ray writes a world-readable one to the home folder
    try:
        ray.init(
            "local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=store_bytes,
            _temp_dir=str(folder),
            **_QUIET,
        )
    except Exception as error:  # noqa: BLE001 (it may raise anything)
        reason = str(error).strip().splitlines()[0]
        raise Lost(f"Ray cannot be started here: {reason}") from None


def _join(address: str) -> None:
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        hint = "if it requires a token, set RAY_AUTH_TOKEN to its head's (printed by `ray get-auth-token` there)"
        raise InputError(f"no Ray cluster answers at {address}: {str(error).strip().splitlines()[0]}; {hint}") from None


def _shut_down() -> bool:
    """Shut down Ray; False if it hangs, as it does if the head is gone."""
    ending = threading.Thread(target=ray.shutdown, daemon=True)
    ending.start()
    ending.join(_END_S)
    return not ending.is_alive()


_QUIET: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False, "configure_logging": True}


def _silence_logging() -> None:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if private := sys.modules.get("ray._private.worker"):
        vars(private)["print_to_stdstream"] = _print_first_line


def _print_first_line(data: dict[str, Any], **__: Any) -> None:
    """Print only the first line of Ray's messages, such as the loss of a node, not the pages of state after it.

    Replaces a private function of Ray, which has no setting for this; in a version without it, everything is printed.
    """
    for message in data["lines"]:
        first, *_ = message.strip().split("\n")
        if not first.startswith("Raylet is terminated."):  # reported by _Watch if it matters
            print(f"Ray: {textwrap.shorten(first, 200)}", file=sys.stderr)


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Keep the SIGTERM handler: `ray.init` installs two of its own, and the C++ one aborts."""
    private, handler = vars(ray._private.utils), signal.getsignal(signal.SIGTERM)
    setter = private["set_sigterm_handler"]
    private["set_sigterm_handler"] = lambda _: None
    try:
        yield
    finally:
        private["set_sigterm_handler"] = setter
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _stderr_to(file: Path) -> Iterator[None]:
    """Redirect stderr of Ray's C++ code to a file during startup; Python's sys.stderr is unaffected."""
    own, log = os.dup(2), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    before, sys.stderr = sys.stderr, os.fdopen(os.dup(own), "w")
    os.dup2(log, 2)
    try:
        yield
    finally:
        os.dup2(own, 2)
        sys.stderr.close()
        sys.stderr = before
        os.close(own)
        os.close(log)


@contextlib.contextmanager
def _imports_from_home(empty: Path) -> Iterator[None]:
    """Make workers import the same packages as this process.

    Ray workers import from the current directory first, so change to the packages' folder, or, if they are installed, to an
    empty one.
    """
    installed = HOME in map(os.path.realpath, [*site.getsitepackages(), site.getusersitepackages()])
    before, path = os.environ.get("PYTHONPATH"), os.pathsep.join(import_path())
    os.environ["PYTHONPATH"] = path
    try:
        with contextlib.chdir(empty if installed else HOME):
            yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _start_guard(sentence: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the process that kills Ray's processes if this one is killed; its agents would run for another minute."""
    others = [str(child.pid) for child in psutil.Process().children(recursive=True)]
    command = [sys.executable, "-P", guard.__file__, str(os.getpid()), sentence, str(folder), *others]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


class _Watch:
    """Interrupts the main thread when the cluster's head or this machine's node is lost.

    The head is polled; the node is watched through an open socket. If the main thread does not react, because it waits inside
    Ray's code, `on_no_reaction` is called.
    """

    def __init__(self, on_no_reaction: Callable[[], None]) -> None:
        self.lost: str | None = None
        self._on_no_reaction = on_no_reaction
        self._closed = threading.Event()
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head = host.strip("[]"), int(port)
        node: Any = ray._private.worker._global_node
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(node.raylet_socket_name)
        self._before = signal.signal(signal.SIGUSR2, self._interrupt)
        self._thread = threading.Thread(target=self._monitor, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._line.close()
        signal.signal(signal.SIGUSR2, self._before)

    def _interrupt(self, *_: Any) -> None:
        raise Lost(self.lost)

    def _monitor(self) -> None:
        answered = time.monotonic()
        while not self.lost:
            broken, _, _ = select.select([self._line], [], [], _EVERY_S)
            if self._closed.is_set():
                return
            if broken:  # react at once: Ray's code would soon end this process
                self.lost = "Ray's process on this machine (raylet) is gone"
            elif self._head_answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > _PATIENCE_S:
                self.lost = "Ray's head (gcs_server) is gone"
        _thread.interrupt_main(signal.SIGUSR2)
        if not self._closed.wait(_REACTION_S):
            self._on_no_reaction()

    def _head_answers(self) -> bool:
        try:
            socket.create_connection(self._head, timeout=_PATIENCE_S).close()
        except OSError:
            return False
        return True
