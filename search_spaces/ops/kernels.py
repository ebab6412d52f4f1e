"""Loops of training on one thread: batch norm with its activation, depthwise weight gradients, two maps' channels in turn.

Compiled by Numba when this module is imported. Maps are rows of channels, as channels_last has them, so that innermost loops
run over neighbouring numbers and are vectorised; sums are in float32 over a few rows at a time, and in float64 over these.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

NONE, RELU, RELU6, HARD_SWISH = range(4)  # activations behind a batch norm

_AT_ONCE = 64  # rows summed in float32
_LONG = 512  # numbers that innermost loops run over, at least
_SCALE, _SHIFT, _MEAN, _INVERSE = range(4)  # rows of `kept`
_half, _sixth, _third = np.float32(0.5), np.float32(1 / 6), np.float32(1 / 3)
_zero, _one, _three, _six = np.float32(0), np.float32(1), np.float32(3), np.float32(6)


def _compiled(signature: str | None = None) -> Callable[[Callable[..., object]], Any]:
    """Compiles a loop for the types of `signature`, or for those that other loops call it with.

    What is compiled is kept beside this file or in the user's cache, so that the next process need not; where neither can be
    written, each process compiles (about two seconds).
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

    def compiled(loop: Callable[..., object]) -> Any:
        try:
            return numba.njit(signature, cache=True, **options)(loop)
        except RuntimeError:  # no place for a cache
            return numba.njit(signature, **options)(loop)

    return compiled


@numba.njit(inline="always")
def _act(z: np.float32, act: int) -> np.float32:
    if act == RELU:
        return max(z, _zero)
    if act == RELU6:
        return min(max(z, _zero), _six)
    if act == HARD_SWISH:
        return z * min(max(z + _three, _zero), _six) * _sixth
    return z


@numba.njit(inline="always")
def _slope(z: np.float32, act: int) -> np.float32:
    if act == RELU:
        return _one if z > _zero else _zero
    if act == RELU6:
        return _one if (z > _zero) & (z < _six) else _zero
    if act == HARD_SWISH:
        rising = z * _third + _half if z > -_three else _zero
        return rising if z < _three else _one
    return _one


@_compiled()
def _normalise(x: Array, scale: Array, shift: Array, act: int, y: Array) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, c] = _act(x[i, c] * scale[c] + shift[c], act)


@_compiled()
def _add_moments(x: Array, around: Array, first: int, last: int, sums: Array, squares: Array) -> None:
    for i in range(first, last):
        for c in range(x.shape[1]):
            away = x[i, c] - around[c]  # so that a large mean does not swallow a small variance
            sums[c] += away
            squares[c] += away * away


@_compiled()
def _add_products(
    x: Array, dy: Array, scale: Array, shift: Array, act: int, first: int, last: int, sums: Array, products: Array
) -> None:
    for i in range(first, last):
        for c in range(x.shape[1]):
            dz = dy[i, c] * _slope(x[i, c] * scale[c] + shift[c], act)
            sums[c] += dz
            products[c] += dz * x[i, c]


@_compiled()
def _input_gradient(x: Array, dy: Array, scale: Array, shift: Array, act: int, tilt: Array, level: Array, dx: Array) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            dz = dy[i, c] * _slope(x[i, c] * scale[c] + shift[c], act)
            dx[i, c] = scale[c] * dz + (tilt[c] * x[i, c] + level[c])


@_compiled()
def _fold(rows: int, channels: int) -> int:
    """How many neighbouring rows are taken as one, so that the innermost loops are long where there are few channels."""
    fold = 1
    while rows % (2 * fold) == 0 and channels * fold < _LONG:
        fold *= 2
    return fold


@_compiled()
def _tiled(values: Array, fold: int) -> Array:
    tiled = np.empty(fold * len(values), np.float32)
    for i in range(fold):
        tiled[i * len(values) : (i + 1) * len(values)] = values
    return tiled


@_compiled()
def _add_folded(few: Array, sums: NDArray[np.float64]) -> None:
    """Adds to `sums` [C] what `few` [fold C] holds, and empties that."""
    for start in range(0, len(few), len(sums)):
        for c in range(len(sums)):
            sums[c] += few[start + c]
    few[:] = 0


@_compiled("void(f4[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], f8, f8, i8, f4[:,::1], f4[:,::1])")
def batch_norm(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    epsilon: float,
    act: int,
    y: Array,
    kept: Array,
) -> None:
    """y = act(batch norm of x), running statistics moved, and what the gradient needs `kept` [4, C]; x and y [rows, C]."""
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
        mean, variance = x[0, c] + away, max(squares[c] / rows - away * away, 0.0)
        inverse = 1 / np.sqrt(variance + epsilon)
        kept[_SCALE, c] = inverse * weight[c]
        kept[_SHIFT, c] = bias[c] - mean * inverse * weight[c]
        kept[_MEAN, c] = mean
        kept[_INVERSE, c] = inverse
        running_mean[c] += momentum * (mean - running_mean[c])
        running_var[c] += momentum * (variance * rows / (rows - 1) - running_var[c])
    _normalise(folded, _tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold), act, y.reshape(folded.shape))


@_compiled("void(f4[:,::1], f4[:,::1], f4[:,::1], i8, f4[:,::1], f4[::1], f4[::1])")
def batch_norm_gradient(x: Array, dy: Array, kept: Array, act: int, dx: Array, dweight: Array, dbias: Array) -> None:
    """Gradients of `batch_norm` from that of its result, dy [rows, C]."""
    rows, channels = x.shape
    fold = _fold(rows, channels)
    folded = x.reshape(rows // fold, fold * channels)
    dy = dy.reshape(folded.shape)
    scale, shift = _tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold)
    sums, products = np.zeros(channels), np.zeros(channels)
    few, few_products = np.zeros(fold * channels, np.float32), np.zeros(fold * channels, np.float32)
    for first in range(0, len(folded), _AT_ONCE):
        _add_products(folded, dy, scale, shift, act, first, min(len(folded), first + _AT_ONCE), few, few_products)
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
    _input_gradient(folded, dy, scale, shift, act, _tiled(tilt, fold), _tiled(level, fold), dx.reshape(folded.shape))


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
