"""Divides the processors and GPUs of a cluster among workers."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.errors import InputError


@dataclass(frozen=True)
class Node:
    """A cluster node: number of processors and GPUs."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Share:
    """`workers` parallel workers, each with `threads` processors of a node and the share `gpu` (0..1) of a GPU."""

    workers: int
    threads: int
    gpu: float


def share(nodes: Sequence[Node], workers: int | None = None) -> Share:
    """The largest shares with which all workers fit; by default one worker per processor, or per GPU if there are any.

    Nodes without a GPU are not used if others have some. Raises InputError if there are too many workers.
    """
    gpus = any(node.gpus for node in nodes)
    able = [node for node in nodes if node.gpus or not gpus]
    wanted = workers or _capacity(able, 1, 1)
    room = sum(node.cpus for node in able)
    if not 0 < wanted <= room:
        raise InputError(f"the Ray cluster has processors for {room} parallel workers, not for {wanted or 1}")
    on_a_gpu = min(n for n in range(1, wanted + 1) if _capacity(able, 1, n) >= wanted)
    most = max(node.cpus for node in able)
    threads = max(n for n in range(1, most + 1) if _capacity(able, n, on_a_gpu) >= wanted)
    return Share(wanted, threads, 10_000 // on_a_gpu / 10_000 if gpus else 0.0)  # rounded down to Ray's precision


def _capacity(nodes: Sequence[Node], threads: int, on_a_gpu: int) -> int:
    """How many workers fit, given the threads per worker and the number of workers per GPU."""
    return sum(min(node.cpus // threads, node.gpus * on_a_gpu if node.gpus else node.cpus) for node in nodes)
