"""Limits: the most latency, weights and memory that a network may need."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper limits of latency (ms), weights (bytes) and peak activation memory (bytes); infinite where there is none."""

    latency_ms: float = math.inf
    size_bytes: float = math.inf
    memory_bytes: float = math.inf


def budget_text(latency_ms: float | None, size_bytes: float | None, memory_bytes: float | None) -> str:
    """The budgets that are given, as text: `20 ms, weights 500 KB`."""
    latency = [] if latency_ms is None else [f"{latency_ms:g} ms"]
    sizes = (("weights", size_bytes), ("memory", memory_bytes))
    return ", ".join([*latency, *(f"{name} {bytes_text(value)}" for name, value in sizes if value is not None)])


def bytes_text(value: float) -> str:
    """A number of bytes in B, KB (1,000 bytes) or MB, with up to four digits."""
    unit, factor = next((u, f) for u, f in (("MB", 1e6), ("KB", 1e3), ("B", 1.0)) if value >= f or f == 1.0)
    return f"{value / factor:.4g} {unit}"
