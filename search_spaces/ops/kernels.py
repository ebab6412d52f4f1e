"""Loops of training on one thread: batch norm with activation, depthwise weight gradients, channels in turn, shifts.

Compiled by Numba when this module is imported. Maps are rows of channels, as channels_last has them, so that innermost loops
run over neighbouring numbers and are vectorised; sums are in float32 over a few rows at a time, and in float64 over these.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

Array = NDArray[np.float32]
Map = NDArray[np.float32] | NDArray[np.uint16]  # of float32, or of bfloat16 as its bits

NONE, RELU, RELU6, HARD_SWISH, PRELU = range(5)  # activations behind a batch norm

_BITS, _SIXTEEN = ir.IntType(32), ir.IntType(32)(16)
LANES = 16  # neighbouring numbers that shifts take at once, with no loop: their runs of channels are short
_AT_ONCE = 64  # rows summed in float32
_LONG = 512  # numbers that innermost loops run over, at least
_SCALE, _SHIFT, _MEAN, _INVERSE = range(4)  # rows of `kept`
_half, _sixth, _third = np.float32(0.5), np.float32(1 / 6), np.float32(1 / 3)
_zero, _one, _three, _six = np.float32(0), np.float32(1), np.float32(3), np.float32(6)


def _compiled(*signatures: str) -> Callable[[Callable[..., object]], Any]:
    """Compiles a loop for the types of the `signatures`, or for those that other loops call it with.

    What is compiled is kept beside this file or in the user's cache, so that the next process need not; where neither can be
    written, each process compiles (about eight seconds).
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

    def compiled(loop: Callable[..., object]) -> Any:
        try:
            return numba.njit(list(signatures) or None, cache=True, **options)(loop)
        except RuntimeError:  # no place for a cache
            return numba.njit(list(signatures) or None, **options)(loop)

    return compiled


def _instructions(generator: Callable[..., Any]) -> Any:
    """What loops call by its name becomes the instructions that `generator` gives for the types of its arguments."""
    return intrinsic(generator)


@_instructions
def _read(_: Any, number: Any) -> Any:
    """A number of a map, as float32."""

    def widened(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.bitcast(builder.shl(builder.zext(given[0], _BITS), _SIXTEEN), ir.FloatType())

    return types.float32(number), _as_given if isinstance(number, types.Float) else widened


@_instructions
def _written(_: Any, number: Any, place: Any) -> Any:
    """A float32 as the map `place` keeps it: bfloat16 is the nearest, of two the even one."""

    def rounded(_: Any, builder: Any, __: Any, given: Any) -> Any:
        bits = builder.bitcast(given[0], _BITS)
        odd = builder.and_(builder.lshr(bits, _SIXTEEN), _BITS(1))
        return builder.trunc(builder.lshr(builder.add(bits, builder.add(odd, _BITS(0x7FFF))), _SIXTEEN), ir.IntType(16))

    return place.dtype(number, place), _as_given if isinstance(place.dtype, types.Float) else rounded


@_instructions
def _copy_lanes(_: Any, target: Any, start: Any, source: Any, first: Any) -> Any:
    """target[start : start + LANES] = source[first : first + LANES], of flat arrays of float32."""

    def copy(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        to, of = (_lanes(context, builder, signature.args[i], given[i], given[i + 1]) for i in (0, 2))
        builder.store(builder.load(of, align=4), to, align=4)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), copy


@_instructions
def _add_lanes(_: Any, sums: Any, start: Any, x: Any, first: Any, y: Any, other: Any) -> Any:
    """sums[start : start + LANES] += x[first : ...] * y[other : ...], of flat arrays of float32."""

    def add(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        places = [_lanes(context, builder, signature.args[i], given[i], given[i + 1]) for i in (0, 2, 4)]
        before, a, b = (builder.load(place, align=4) for place in places)
        product = builder.fmul(a, b, flags=("contract",))
        builder.store(builder.fadd(before, product, flags=("contract",)), places[0], align=4)
        return context.get_dummy_value()

    return types.void(sums, types.int64, x, types.int64, y, types.int64), add


def _lanes(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """Where LANES numbers of an array begin, as a pointer to a vector."""
    place = builder.gep(make_array(kind)(context, builder, array).data, [start])
    return builder.bitcast(place, ir.VectorType(ir.FloatType(), LANES).as_pointer())


def _as_given(_: Any, __: Any, ___: Any, given: Any) -> Any:
    return given[0]


@numba.njit(inline="always")
def _act(z: np.float32, act: int, slope: np.float32) -> np.float32:
    if act == RELU:
        return max(z, _zero)
    if act == RELU6:
        return min(max(z, _zero), _six)
    if act == HARD_SWISH:
        return z * min(max(z + _three, _zero), _six) * _sixth
    if act == PRELU:
        return z if z > _zero else z * slope
    return z


@numba.njit(inline="always")
def _derivative(z: np.float32, act: int, slope: np.float32) -> np.float32:
    if act == RELU:
        return _one if z > _zero else _zero
    if act == RELU6:
        return _one if (z > _zero) & (z < _six) else _zero
    if act == HARD_SWISH:
        rising = z * _third + _half if z > -_three else _zero
        return rising if z < _three else _one
    if act == PRELU:
        return _one if z > _zero else slope
    return _one


@_compiled()
def _normalise(x: Map, scale: Array, shift: Array, act: int, slopes: Array, y: Array) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, c] = _act(_read(x[i, c]) * scale[c] + shift[c], act, slopes[c])


@_compiled()
def _add_moments(x: Map, around: Array, first: int, last: int, sums: Array, squares: Array) -> None:
    for i in range(first, last):
        for c in range(x.shape[1]):
            away = _read(x[i, c]) - around[c]  # so that a large mean does not swallow a small variance
            sums[c] += away
            squares[c] += away * away


@_compiled()
def _add_products(
    x: Map,
    dy: Array,
    scale: Array,
    shift: Array,
    act: int,
    slopes: Array,
    first: int,
    last: int,
    sums: Array,
    products: Array,
) -> None:
    for i in range(first, last):
        for c in range(x.shape[1]):
            number = _read(x[i, c])
            dz = dy[i, c] * _derivative(number * scale[c] + shift[c], act, slopes[c])
            sums[c] += dz
            products[c] += dz * number


@_compiled()
def _add_negatives(x: Map, dy: Array, scale: Array, shift: Array, first: int, last: int, sums: Array) -> None:
    for i in range(first, last):
        for c in range(x.shape[1]):
            sums[c] += dy[i, c] * min(_read(x[i, c]) * scale[c] + shift[c], _zero)


@_compiled()
def _input_gradient(
    x: Map, dy: Array, scale: Array, shift: Array, act: int, slopes: Array, tilt: Array, level: Array, dx: Map
) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            number = _read(x[i, c])
            dz = dy[i, c] * _derivative(number * scale[c] + shift[c], act, slopes[c])
            dx[i, c] = _written(scale[c] * dz + (tilt[c] * number + level[c]), dx)


@_compiled()
def _fold(rows: int, channels: int) -> int:
    """How many neighbouring rows are taken as one, so that the innermost loops are long where there are few channels."""
    fold = 1
    while rows % (2 * fold) == 0 and channels * fold < _LONG:
        fold *= 2
    return fold


@_compiled()
def _tiled(values: Map, fold: int) -> Array:
    tiled = np.empty(fold * len(values), np.float32)
    for i in range(len(tiled)):
        tiled[i] = _read(values[i % len(values)])
    return tiled


@_compiled()
def _add_folded(few: Array, sums: NDArray[np.float64]) -> None:
    """Adds to `sums` [C] what `few` [fold C] holds, and empties that."""
    for start in range(0, len(few), len(sums)):
        for c in range(len(sums)):
            sums[c] += few[start + c]
    few[:] = 0


@_compiled(
    "void(f4[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], f8, f8, i8, f4[::1], f4[:,::1], f4[:,::1])",
    "void(u2[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], f8, f8, i8, f4[::1], f4[:,::1], f4[:,::1])",
)
def batch_norm(
    x: Map,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    epsilon: float,
    act: int,
    slopes: Array,
    y: Array,
    kept: Array,
) -> None:
    """y = act(batch norm of x), running statistics moved, and what the gradient needs `kept` [4, C]; x and y [rows, C].

    `slopes` [C] are those of PReLU below zero.
    """
    rows, channels = x.shape
    fold = _fold(rows, channels)
    folded = x.reshape(rows // fold, fold * channels)
    around, sums, squares = _tiled(x[0], fold), np.zeros(channels), np.zeros(channels)
    few, few_squares = np.zeros(fold * channels, np.float32), np.zeros(fold * channels, np.float32)
    for first in range(0, len(folded), _AT_ONCE):
        _add_moments(folded, around, first, min(len(folded), first + _AT_ONCE), few, few_squares)
        _add_folded(few, sums)
        _add_folded(few_squares, squares)
    for c in range(channels):
        away = sums[c] / rows
        mean, variance = _read(x[0, c]) + away, max(squares[c] / rows - away * away, 0.0)
        inverse = 1 / np.sqrt(variance + epsilon)
        kept[_SCALE, c] = inverse * weight[c]
        kept[_SHIFT, c] = bias[c] - mean * inverse * weight[c]
        kept[_MEAN, c] = mean
        kept[_INVERSE, c] = inverse
        running_mean[c] += momentum * (mean - running_mean[c])
        running_var[c] += momentum * (variance * rows / (rows - 1) - running_var[c])
    scale, shift = _tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold)
    _normalise(folded, scale, shift, act, _tiled(slopes, fold), y.reshape(folded.shape))


@_compiled(
    "void(f4[:,::1], f4[:,::1], f4[:,::1], i8, f4[::1], f4[:,::1], f4[::1], f4[::1], f4[::1])",
    "void(u2[:,::1], f4[:,::1], f4[:,::1], i8, f4[::1], u2[:,::1], f4[::1], f4[::1], f4[::1])",
)
def batch_norm_gradient(
    x: Map, dy: Array, kept: Array, act: int, slopes: Array, dx: Map, dweight: Array, dbias: Array, dslopes: Array
) -> None:
    """Gradients of `batch_norm` from that of its result, dy [rows, C]."""
    rows, channels = x.shape
    fold = _fold(rows, channels)
    folded = x.reshape(rows // fold, fold * channels)
    dy = dy.reshape(folded.shape)
    scale, shift, tiled_slopes = _tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold), _tiled(slopes, fold)
    sums, products = np.zeros(channels), np.zeros(channels)
    few, few_products = np.zeros(fold * channels, np.float32), np.zeros(fold * channels, np.float32)
    for first in range(0, len(folded), _AT_ONCE):
        last = min(len(folded), first + _AT_ONCE)
        _add_products(folded, dy, scale, shift, act, tiled_slopes, first, last, few, few_products)
        _add_folded(few, sums)
        _add_folded(few_products, products)
    tilt, level = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        mean, inverse = kept[_MEAN, c], kept[_INVERSE, c]
        along = (products[c] - mean * sums[c]) * inverse  # the part of dz that goes with the normalised x
        dweight[c] = along
        dbias[c] = sums[c]
        slope = -scale[c] * inverse * along / rows
        tilt[c] = slope
        level[c] = -scale[c] * sums[c] / rows - slope * mean
    tilts, levels = _tiled(tilt, fold), _tiled(level, fold)
    _input_gradient(folded, dy, scale, shift, act, tiled_slopes, tilts, levels, dx.reshape(folded.shape))
    if act == PRELU:
        sums[:] = 0
        for first in range(0, len(folded), _AT_ONCE):
            _add_negatives(folded, dy, scale, shift, first, min(len(folded), first + _AT_ONCE), few)
            _add_folded(few, sums)
        for c in range(channels):
            dslopes[c] = sums[c]


@_compiled("void(f4[:,:,:,::1], f4[:,:,:,::1], i8, i8, i8, f4[:,:,::1])")
def depthwise_weight_gradient(x: Array, dy: Array, stride: int, padding: int, dilation: int, dweight: Array) -> None:
    """Adds to dweight [K, K, C] what follows for it from dy [N, H', W', C], in a depthwise convolution of x [N, H, W, C]."""
    pictures, height, width, channels = x.shape
    kernel = dweight.shape[0]
    for n in range(pictures):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                for u in range(kernel):
                    row = i * stride + u * dilation - padding
                    if row < 0 or row >= height:
                        continue
                    for v in range(kernel):
                        column = j * stride + v * dilation - padding
                        if column < 0 or column >= width:
                            continue
                        for c in range(channels):
                            dweight[u, v, c] += x[n, row, column, c] * dy[n, i, j, c]


@_compiled("void(f4[::1], f4[::1], f4[::1])")
def interleave(first: Array, second: Array, both: Array) -> None:
    """Numbers of `first` and `second` [n] in turn, in `both` [2 n]."""
    for i in range(len(first)):
        both[2 * i] = first[i]
        both[2 * i + 1] = second[i]


@_compiled("void(f4[::1], f4[::1], f4[::1])")
def deinterleave(both: Array, first: Array, second: Array) -> None:
    """Undoes `interleave`."""
    for i in range(len(first)):
        first[i] = both[2 * i]
        second[i] = both[2 * i + 1]


@_compiled()
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


@_compiled("void(f4[:,:,:,::1], i8[:,::1], i8, f4[:,:,:,::1])")
def shift(x: Array, runs: NDArray[np.int64], sign: int, out: Array) -> None:
    """Runs of channels of x [N, H, W, C], C >= 16, shifted by `sign` times (rows, columns), zero-filled.

    A row of `runs` is (rows, columns, channels).
    """
    (pictures, height, width, channels), (_, to_height, to_width, _) = x.shape, out.shape
    source, target, zeros = x.reshape(-1), out.reshape(-1), np.zeros(LANES, np.float32)
    for n in range(pictures):
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


@_compiled("void(f4[:,:,:,::1], f4[:,:,:,::1], i8[:,::1], f8[:,:,::1])")
def shift_correlations(x: Array, dy: Array, runs: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    """Adds to sums [2, 2, C], for pixels (u, v) further than each run's offset, the sum of dy times x there.

    Maps are [N, H, W, C], C >= 16; sums are in float32 over a picture.
    """
    pictures, height, width, channels = x.shape
    flat, flat_dy, few = x.reshape(-1), dy.reshape(-1), np.empty(LANES, np.float32)
    for n in range(pictures):
        for rows, columns, first, last, start in _blocks(runs, channels):
            for u in range(2):
                for v in range(2):
                    down, right = rows + u, columns + v
                    few[:] = 0
                    for i in range(max(0, -down), min(height, height - down)):
                        for j in range(max(0, -right), min(width, width - right)):
                            pixel = (n * height + i) * width + j
                            place = (pixel + down * width + right) * channels + start
                            _add_lanes(few, 0, flat, place, flat_dy, pixel * channels + start)
                    for c in range(first, last):
                        sums[u, v, c] += few[c - start]
