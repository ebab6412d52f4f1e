"""Shifts of runs of channels, and what offsets learn from them.

Runs of channels are short: LANES neighbouring numbers are taken at once, with no loop.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from evaluators.training.kernels.loops.compiled import Array, compiled, instructions

LANES = 16
_zero = np.float32(0)


@instructions
def _copy_lanes(_: Any, target: Any, start: Any, source: Any, first: Any) -> Any:
    """target[start : start + LANES] = source[first : first + LANES], of flat arrays of float32."""

    def copy(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        to, of = (_lanes(context, builder, (signature.args[i], given[i]), given[i + 1]) for i in (0, 2))
        builder.store(builder.load(of, align=4), to, align=4)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), copy


@instructions
def _add_lanes(_: Any, sums: Any, x: Any, y: Any, starts: Any) -> Any:
    """sums[:LANES] += x[starts[0] :] * y[starts[1] :], of flat arrays of float32."""

    def add(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        begin = [context.get_constant(types.int64, 0), *(builder.extract_value(given[3], i) for i in (0, 1))]
        arrays = zip(signature.args[:3], given[:3], strict=True)
        places = [_lanes(context, builder, array, start) for array, start in zip(arrays, begin, strict=True)]
        before, a, b = (builder.load(place, align=4) for place in places)
        product = builder.fmul(a, b, flags=("contract",))
        builder.store(builder.fadd(before, product, flags=("contract",)), places[0], align=4)
        return context.get_dummy_value()

    return types.void(sums, x, y, types.UniTuple(types.int64, 2)), add


def _lanes(context: Any, builder: Any, array: tuple[Any, Any], start: Any) -> Any:
    """Where LANES numbers of an array, which is its type and its value, begin, as a pointer to a vector."""
    kind, value = array
    place = builder.gep(make_array(kind)(context, builder, value).data, [start])
    return builder.bitcast(place, ir.VectorType(ir.FloatType(), LANES).as_pointer())


@compiled()
def _blocks(runs: NDArray[np.int64], channels: int) -> NDArray[np.int64]:
    """Up to LANES channels of a run each: rows, columns, first channel, last, and where LANES of all channels hold them."""
    count = 0
    for run in range(len(runs)):
        count += -(-runs[run, 2] // LANES)
    blocks = np.empty((count, 5), np.int64)
    first = block = 0
    for run in range(len(runs)):
        last = first + runs[run, 2]
        for c in range(first, last, LANES):
            blocks[block, 0], blocks[block, 1] = runs[run, 0], runs[run, 1]
            blocks[block, 2], blocks[block, 3], blocks[block, 4] = c, min(last, c + LANES), min(c, channels - LANES)
            block += 1
        first = last
    return blocks


@compiled("void(f4[:,:,:,::1], i8[:,::1], i8, f4[:,:,:,::1])")
def shift(x: Array, runs: NDArray[np.int64], sign: int, out: Array) -> None:
    """Runs of channels of x [N, H, W, C], C >= 16, shifted by `sign` times (rows, columns), zero-filled.

    A row of `runs` is (rows, columns, channels).
    """
    (images, height, width, channels), (_, to_height, to_width, _) = x.shape, out.shape
    source, target, zeros = x.reshape(-1), out.reshape(-1), np.zeros(LANES, np.float32)
    for n in range(images):
        for rows, columns, first, last, start in _blocks(runs, channels):
            for i in range(to_height):
                row = i + sign * rows
                for j in range(to_width):
                    column = j + sign * columns
                    inside = 0 <= row < height and 0 <= column < width
                    pixel = (n * to_height + i) * to_width + j
                    origin = (n * height + row) * width + column
                    if start < first:  # lanes before `first` are another run's, and done
                        for c in range(first, last):
                            target[pixel * channels + c] = source[origin * channels + c] if inside else _zero
                    elif inside:  # lanes from `last` on are another run's, and still to come
                        _copy_lanes(target, pixel * channels + start, source, origin * channels + start)
                    else:
                        _copy_lanes(target, pixel * channels + start, zeros, 0)


@compiled("void(f4[:,:,:,::1], f4[:,:,:,::1], i8[:,::1], f8[:,:,::1])")
def shift_correlations(x: Array, dy: Array, runs: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    """Adds to sums [2, 2, C], for pixels (u, v) further than each run's offset, the sum of dy times x there.

    Maps are [N, H, W, C], C >= 16; sums are in float32 over an image.
    """
    images, height, width, channels = x.shape
    flat, flat_dy, few = x.reshape(-1), dy.reshape(-1), np.empty(LANES, np.float32)
    for n in range(images):
        for rows, columns, first, last, start in _blocks(runs, channels):
            for u in range(2):
                for v in range(2):
                    down, right = rows + u, columns + v
                    few[:] = 0
                    for i in range(max(0, -down), min(height, height - down)):
                        for j in range(max(0, -right), min(width, width - right)):
                            pixel = (n * height + i) * width + j
                            place = (pixel + down * width + right) * channels + start
                            _add_lanes(few, flat, flat_dy, (place, pixel * channels + start))
                    for c in range(first, last):
                        sums[u, v, c] += few[c - start]
