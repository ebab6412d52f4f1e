"""How many workers train at once on the nodes of a cluster, and what each of them takes of its node."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.errors import InputError


@dataclass(frozen=True)
class Node:
    """A machine of a cluster: its processors and GPUs."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Share:
    """`workers` at once, each with `threads` processors of one node and the share `gpu` (0..1) of one GPU."""

    workers: int
    threads: int
    gpu: float


def share(nodes: Sequence[Node], workers: int | None = None) -> Share:
    """The largest shares with which all workers fit; by default a worker a processor, or a GPU where there are any.

    Nodes without a GPU are left out where others have some. Raises InputError when more workers are wanted than fit.
    """
    gpus = any(node.gpus for node in nodes)
    able = [node for node in nodes if node.gpus or not gpus]
    wanted = workers or _room(able, 1, 1)
    room = sum(node.cpus for node in able)
    if not 0 < wanted <= room:
        raise InputError(f"the Ray cluster has processors for {room} workers at once, not for {wanted or 1}")
    on_a_gpu = min(n for n in range(1, wanted + 1) if _room(able, 1, n) >= wanted)
    most = max(node.cpus for node in able)
    threads = max(n for n in range(1, most + 1) if _room(able, n, on_a_gpu) >= wanted)
    return Share(wanted, threads, 10_000 // on_a_gpu / 10_000 if gpus else 0.0)  # rounded down to Ray's precision


def _room(nodes: Sequence[Node], threads: int, on_a_gpu: int) -> int:
    """How many workers of so many threads fit, so many of them on a GPU."""
    return sum(min(node.cpus // threads, node.gpus * on_a_gpu if node.gpus else node.cpus) for node in nodes)
