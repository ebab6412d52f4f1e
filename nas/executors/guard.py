"""Ends what a process has started when that one is gone, and says for it how to go on.

usage: python guard.py PID SENTENCE OTHER ..., its standard input a pipe

PID has started this process, and holds the other end of the pipe. Until it sends a line, all that it starts is noted, but for
the OTHER processes, which were there before; a last line "end" is a regular end. The pipe's end without that line means that it
was killed, or ended by a library; then the sentence is printed.
"""

import contextlib
import select
import sys

import psutil

_EVERY_S = 0.2


def main() -> None:
    pid, sentence = int(sys.argv[1]), sys.argv[2]
    others = {psutil.Process().pid, *map(int, sys.argv[3:])}
    family, said = _noted(pid, others)
    said += sys.stdin.buffer.read()
    _end(family)
    if not said.endswith(b"end\n") and sentence:
        print(sentence, file=sys.stderr)


def _noted(pid: int, others: set[int]) -> tuple[set[psutil.Process], bytes]:
    """All that a process starts until it sends its first line, or is gone, without `others`; and that line."""
    found, ready = set[psutil.Process](), False
    while not ready and psutil.pid_exists(pid):
        ready = bool(select.select([sys.stdin], [], [], _EVERY_S)[0])
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child for child in psutil.Process(pid).children(recursive=True) if child.pid not in others}
    return found, sys.stdin.buffer.readline() if ready else b""


def _end(family: set[psutil.Process]) -> None:
    """With all that these have started since; not another one that has the number of one by now."""
    started = [child for known in family for child in _children(known)]
    for process in [*family, *started]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
