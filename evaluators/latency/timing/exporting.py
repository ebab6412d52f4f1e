"""Writing networks as files of a runtime, to be timed: one, or many on all processors."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evaluators.latency.runtime import Runtime, load_runtime
from evaluators.processors import processors
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_LEAST = 16  # networks for which a process of its own is worth the seconds that it takes to start


class Order(NamedTuple):
    """A network to be written, its task, and the file."""

    genotype: Genotype
    task: Task
    path: Path


Write = Callable[[Iterable[Order]], Iterator[Path]]


def write_network(genotype: Genotype, task: Task, runtime: Runtime, path: Path) -> None:
    """Writes a network, with the same weights every time, as the runtime's file."""
    import torch

    from search_spaces.network import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runtime.prepare(build(genotype, task), task, path)


@contextmanager
def writers(runtime: str, count: int) -> Iterator[Write]:
    """Gives what carries orders out, some `count` in all, and yields each file in turn; between calls it is idle.

    With few networks or one processor it is this process. Raises InputError when a process is killed.
    """
    workers, write = min(processors(), count // _LEAST), partial(_carry_out, runtime)
    if workers < 2:
        yield partial(map, write)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin)
    try:
        yield partial(pool.map, write)
    except BrokenProcessPool:
        raise InputError("a process that exports networks was killed; is there too little memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leaves Ctrl-C to the process that asked, and ends with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _carry_out(runtime: str, order: Order) -> Path:
    write_network(order.genotype, order.task, load_runtime(runtime), order.path)
    return order.path
