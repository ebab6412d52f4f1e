"""Ends processes when the one that started them is gone; usage: python guard.py PID ..., its standard input a pipe."""

import sys

import psutil


def main() -> None:
    found = [psutil.Process(int(pid)) for pid in sys.argv[1:] if psutil.pid_exists(int(pid))]
    sys.stdin.buffer.read()  # until the other end is closed: by its process, or by that one's death
    for process in found:
        try:
            process.kill()  # not another one that has its number by now
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    main()
