"""Exports networks to a runtime's files for timing: one, or many in parallel on all processors."""

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

_LEAST = 16  # networks per worker process, below which starting one takes longer than it saves


class Order(NamedTuple):
    """A network to export, its task, and the file to write."""

    genotype: Genotype
    task: Task
    path: Path


Write = Callable[[Iterable[Order]], Iterator[Path]]


def write_network(genotype: Genotype, task: Task, runtime: Runtime, path: Path) -> None:
    """Exports a network to the runtime's file, with the same weights every time."""
    import torch

    from search_spaces.network import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runtime.prepare(build(genotype, task), task, path)


@contextmanager
def writers(runtime: str, count: int) -> Iterator[Write]:
    """Yields a function that exports about `count` orders in total and yields each file in turn; workers idle between calls.

    With few networks or one processor, it exports in this process. Raises InputError when a worker process is killed.
    """
    workers, write = min(processors(), count // _LEAST), partial(_carry_out, runtime)
    if workers < 2:
        yield partial(map, write)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive fork
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin)
    try:
        yield partial(pool.map, write)
    except BrokenProcessPool:
        raise InputError("a worker process was killed while exporting networks; is the machine out of memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Ignores Ctrl-C, which the parent handles, and exits when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _carry_out(runtime: str, order: Order) -> Path:
    write_network(order.genotype, order.task, load_runtime(runtime), order.path)
    return order.path
