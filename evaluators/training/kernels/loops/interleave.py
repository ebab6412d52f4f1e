"""Channels of two maps in turn, and back."""

from evaluators.training.kernels.loops.compiled import Array, compiled


@compiled("void(f4[::1], f4[::1], f4[::1])")
def interleave(first: Array, second: Array, both: Array) -> None:
    """Numbers of `first` and `second` [n] in turn, in `both` [2 n]."""
    for i in range(len(first)):
        both[2 * i] = first[i]
        both[2 * i + 1] = second[i]


@compiled("void(f4[::1], f4[::1], f4[::1])")
def deinterleave(both: Array, first: Array, second: Array) -> None:
    """Undoes `interleave`."""
    for i in range(len(first)):
        first[i] = both[2 * i]
        second[i] = both[2 * i + 1]
