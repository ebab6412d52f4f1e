"""Ray itself: started on this machine or joined, watched, and ended with all that it has started."""

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
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():  # Ray reads these while it is imported
    os.environ.setdefault(_name, _value)


def _have_home() -> None:
    """Ray asks for the home folder while it is imported, and gets a temporary one where a user has none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="nas-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)


def _has_token() -> bool:
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return True
    return os.access(os.path.expanduser("~/.ray/auth_token"), os.R_OK)


_have_home()
if _has_token():
    # as `ray start --head` has it where there is a token; a head that asks for none does not mind
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import psutil  # noqa: E402
import ray  # noqa: E402

from evaluators.imports import HOME, import_path  # noqa: E402
from nas.executors import guard  # noqa: E402
from nas.executors.scratch import Scratch  # noqa: E402
from nas.executors.sharing import Node  # noqa: E402
from nas.signals import Lost, end_at_once  # noqa: E402
from search_spaces.errors import InputError  # noqa: E402

_EVERY_S, _PATIENCE_S, _END_S, _HEARD_S = 0.2, 3.0, 6.0, 10.0


class RaySession:
    """Ray with `workers` processors of this machine, or a cluster at `address` that this process joins; `folder` is its own.

    When a process is lost that Ray cannot do without, the main thread is interrupted by `Lost`: Ray itself would wait for it,
    and then end this process. Where the main thread does not hear it, this process ends with exit code 2, and with
    `sentence`, which says how to go on; it is said, too, when Ray's own code ends this process. Raises Lost when Ray cannot be
    started, InputError when no cluster answers.
    """

    def __init__(self, workers: int | None, address: str | None, store_bytes: int, sentence: str = "") -> None:
        self._scratch, self._sentence = Scratch(), sentence
        self._guard = _start_guard(sentence)
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
        """What of Ray is lost, if anything."""
        return self._watch.lost if self._watch else None

    def nodes(self) -> list[Node]:
        """The machines that are alive."""
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [Node(int(found.get("CPU", 0)), int(found.get("GPU", 0))) for found in resources]

    def close(self) -> None:
        """Ends what was started here; nothing of it is left running."""
        if self._watch:
            self._watch.close()
        if self.lost or not _shut_down():
            end_at_once()
        self._guard.communicate(b"end\n")
        self._scratch.close()

    def _start(self, workers: int | None, address: str | None, store_bytes: int) -> None:
        _be_quiet()
        with _handlers_kept(), _imports_from_home(self.folder), _errors_to(self.folder / "start.log"):
            _join(address) if address else _start_here(workers, store_bytes, self.folder)
        self._tell_guard(b"started\n")
        self._watch = _Watch(self._end_unheard)

    def _tell_guard(self, line: bytes) -> None:
        assert self._guard.stdin
        with contextlib.suppress(BrokenPipeError):  # a guard that somebody has killed
            self._guard.stdin.write(line)
            self._guard.stdin.flush()

    def _end_unheard(self) -> None:
        """Ends this process, whose main thread hears nothing, where it stands."""
        print(f"nas: {self.lost}; {self._sentence}", file=sys.stderr, flush=True)
        self._tell_guard(b"end\n")
        os._exit(2)


def _start_here(workers: int | None, store_bytes: int, folder: Path) -> None:
    if not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else Ray writes one into the home folder, for all to read
    try:
        ray.init(
            "local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=store_bytes,
            _temp_dir=str(folder),
            **_QUIET,
        )
    except Exception as error:  # noqa: BLE001 (it raises whatever its parts raise)
        reason = str(error).strip().splitlines()[0]
        raise Lost(f"Ray cannot be started here: {reason}") from None


def _join(address: str) -> None:
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        hint = "if it asks for a token, RAY_AUTH_TOKEN must be the one of its head (`ray get-auth-token` prints it there)"
        raise InputError(f"no Ray cluster answers at {address}: {str(error).strip().splitlines()[0]}; {hint}") from None


def _shut_down() -> bool:
    """Whether Ray came to an end in time: it waits for a head that is gone, such as by a signal to all of a group."""
    ending = threading.Thread(target=ray.shutdown, daemon=True)
    ending.start()
    ending.join(_END_S)
    return not ending.is_alive()


_QUIET: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False, "configure_logging": True}


def _be_quiet() -> None:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if private := sys.modules.get("ray._private.worker"):
        vars(private)["print_to_stdstream"] = _print_first_line


def _print_first_line(data: dict[str, Any], **__: Any) -> None:
    """What Ray tells of its cluster, such as the loss of a node, without the pages of its state that go with it.

    It takes the place of a function of Ray, which has no setting for this; in a version of Ray without it, all is printed.
    """
    for message in data["lines"]:
        first, *_ = message.strip().split("\n")
        if not first.startswith("Raylet is terminated."):  # _Watch tells of it where it matters
            print(f"Ray: {textwrap.shorten(first, 200)}", file=sys.stderr)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """SIGTERM stays with who handles it: `ray.init` puts two handlers of its own there, and that of its C++ aborts."""
    private, handler = vars(ray._private.utils), signal.getsignal(signal.SIGTERM)
    setter = private["set_sigterm_handler"]
    private["set_sigterm_handler"] = lambda _: None
    try:
        yield
    finally:
        private["set_sigterm_handler"] = setter
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _errors_to(file: Path) -> Iterator[None]:
    """Ray's C++ part writes what it meets while it starts to a file; this process's Python goes on with its own stream."""
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
    """Workers import what this process does: Ray has them look into the current directory first, so this is the packages' own.

    Where these are installed, among all others, it is an empty one.
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


def _start_guard(sentence: str) -> "subprocess.Popen[bytes]":
    """What ends Ray's processes should this one be killed: its agents would go on for a minute."""
    others = [str(child.pid) for child in psutil.Process().children(recursive=True)]
    command = [sys.executable, "-P", guard.__file__, str(os.getpid()), sentence, *others]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


class _Watch:
    """Interrupts the main thread when the head of the cluster or this machine's node is lost; the first is asked, the
    second holds a line that breaks with it. A main thread that waits within Ray's own code does not hear it; then `unheard` is
    called.
    """

    def __init__(self, unheard: Callable[[], None]) -> None:
        self.lost: str | None = None
        self._unheard = unheard
        self._closed = threading.Event()
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head = host.strip("[]"), int(port)
        node: Any = ray._private.worker._global_node
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(node.raylet_socket_name)
        self._before = signal.signal(signal.SIGUSR2, self._interrupt)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._line.close()
        signal.signal(signal.SIGUSR2, self._before)

    def _interrupt(self, *_: Any) -> None:
        raise Lost(self.lost)

    def _look(self) -> None:
        answered = time.monotonic()
        while not self.lost:
            broken, _, _ = select.select([self._line], [], [], _EVERY_S)
            if self._closed.is_set():
                return
            if broken:  # heard at once: Ray's own code would soon end this process
                self.lost = "Ray's process on this machine (raylet) is gone"
            elif self._head_answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > _PATIENCE_S:
                self.lost = "Ray's head (gcs_server) is gone"
        _thread.interrupt_main(signal.SIGUSR2)
        if not self._closed.wait(_HEARD_S):
            self._unheard()

    def _head_answers(self) -> bool:
        try:
            socket.create_connection(self._head, timeout=_PATIENCE_S).close()
        except OSError:
            return False
        return True
