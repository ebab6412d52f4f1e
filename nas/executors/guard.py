"""Kills the children of a process once it is gone, and prints how to resume.

usage: python guard.py PID SENTENCE FOLDER OTHER ..., with a pipe as standard input

PID is the parent of this process and holds the other end of the pipe. Until it sends a line, all processes that it starts are
recorded, except OTHER, which existed before. Processes that Ray started later for the session in FOLDER, such as workers that
do not know yet that it is gone, are found by their command line. A last line "end" marks a regular exit. If the pipe closes
without it, the parent was killed, or exited by a library, and SENTENCE is printed.
"""

import contextlib
import select
import sys

import psutil

_EVERY_S = 0.2


def main() -> None:
    pid, sentence = int(sys.argv[1]), sys.argv[2]
    folder, others = sys.argv[3], {pid, psutil.Process().pid, *map(int, sys.argv[4:])}
    children, received = _recorded(pid, others)
    received += sys.stdin.buffer.read()
    _kill(children)
    _kill({process for process in _of_folder(folder) if process.pid not in others})
    if not received.endswith(b"end\n") and sentence:
        print(sentence, file=sys.stderr)


def _recorded(pid: int, others: set[int]) -> tuple[set[psutil.Process], bytes]:
    """Processes that `pid` starts until it sends its first line or is gone, except `others`; and that line."""
    found, ready = set[psutil.Process](), False
    while not ready and psutil.pid_exists(pid):
        ready = bool(select.select([sys.stdin], [], [], _EVERY_S)[0])
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child for child in psutil.Process(pid).children(recursive=True) if child.pid not in others}
    return found, sys.stdin.buffer.readline() if ready else b""


def _kill(processes: set[psutil.Process]) -> None:
    """Kill processes and their children; psutil makes sure that a reused PID is not killed."""
    started = [child for process in processes for child in _children(process)]
    for process in [*processes, *started]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _of_folder(folder: str) -> list[psutil.Process]:
    """Processes that Ray started with this folder for temporary files."""
    everyone = psutil.process_iter(["cmdline"])
    return [process for process in everyone if f"--temp-dir={folder}" in (process.info["cmdline"] or ())]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
