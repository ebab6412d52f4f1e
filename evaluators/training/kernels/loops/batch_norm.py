"""Batch norm with the activation behind it, and its gradients, on maps of float32 or bfloat16.

Maps are rows of channels, as channels_last has them, so that innermost loops run over neighbouring numbers and are vectorised;
sums are in float32 over a few rows at a time, and in float64 over these.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from evaluators.training.kernels.loops.compiled import Array, Map, compiled, instructions

NONE, RELU, RELU6, HARD_SWISH, PRELU = range(5)  # activations behind a batch norm

_BITS, _SIXTEEN = ir.IntType(32), ir.IntType(32)(16)
_AT_ONCE = 64  # rows summed in float32
_LONG = 512  # numbers that innermost loops run over, at least
_SCALE, _SHIFT, _MEAN, _INVERSE = range(4)  # rows of `kept`
_half, _sixth, _third = np.float32(0.5), np.float32(1 / 6), np.float32(1 / 3)
_zero, _one, _three, _six = np.float32(0), np.float32(1), np.float32(3), np.float32(6)


class Norm(NamedTuple):
    """What a batch norm learns and counts, [C] each, and its constants."""

    weight: Array
    bias: Array
    running_mean: Array
    running_var: Array
    momentum: float
    epsilon: float


class Act(NamedTuple):
    """An activation by its code; `slopes` [C] are those of PReLU below zero."""

    code: int
    slopes: Array


class Gradients(NamedTuple):
    """What the loss changes by: with the map, and with what batch norm and activation learn, [C] each."""

    x: Map
    weight: Array
    bias: Array
    slopes: Array


class _Line(NamedTuple):
    """z = scale * x + shift of each channel, and the activation that z is given to."""

    scale: Array
    shift: Array
    code: int
    slopes: Array


@instructions
def _read(_: Any, number: Any) -> Any:
    """A number of a map, as float32."""

    def widened(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.bitcast(builder.shl(builder.zext(given[0], _BITS), _SIXTEEN), ir.FloatType())

    return types.float32(number), _as_given if isinstance(number, types.Float) else widened


@instructions
def _written(_: Any, number: Any, place: Any) -> Any:
    """A float32 as the map `place` keeps it: bfloat16 is the nearest, of two the even one."""

    def rounded(_: Any, builder: Any, __: Any, given: Any) -> Any:
        bits = builder.bitcast(given[0], _BITS)
        odd = builder.and_(builder.lshr(bits, _SIXTEEN), _BITS(1))
        return builder.trunc(builder.lshr(builder.add(bits, builder.add(odd, _BITS(0x7FFF))), _SIXTEEN), ir.IntType(16))

    return place.dtype(number, place), _as_given if isinstance(place.dtype, types.Float) else rounded


def _as_given(_: Any, __: Any, ___: Any, given: Any) -> Any:
    return given[0]


@numba.njit(inline="always")
def _act(z: np.float32, code: int, slope: np.float32) -> np.float32:
    if code == RELU:
        return max(z, _zero)
    if code == RELU6:
        return min(max(z, _zero), _six)
    if code == HARD_SWISH:
        return z * min(max(z + _three, _zero), _six) * _sixth
    if code == PRELU:
        return z if z > _zero else z * slope
    return z


@numba.njit(inline="always")
def _derivative(z: np.float32, code: int, slope: np.float32) -> np.float32:
    if code == RELU:
        return _one if z > _zero else _zero
    if code == RELU6:
        return _one if (z > _zero) & (z < _six) else _zero
    if code == HARD_SWISH:
        rising = z * _third + _half if z > -_three else _zero
        return rising if z < _three else _one
    if code == PRELU:
        return _one if z > _zero else slope
    return _one


@compiled()
def _normalise(x: Map, line: _Line, y: Array) -> None:
    scale, shift, code, slopes = line
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, c] = _act(_read(x[i, c]) * scale[c] + shift[c], code, slopes[c])


@compiled()
def _add_moments(x: Map, around: Array, sums: Array, squares: Array) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            away = _read(x[i, c]) - around[c]  # so that a large mean does not swallow a small variance
            sums[c] += away
            squares[c] += away * away


@compiled()
def _add_products(x: Map, dy: Array, line: _Line, sums: Array, products: Array) -> None:
    scale, shift, code, slopes = line
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            number = _read(x[i, c])
            dz = dy[i, c] * _derivative(number * scale[c] + shift[c], code, slopes[c])
            sums[c] += dz
            products[c] += dz * number


@compiled()
def _add_negatives(x: Map, dy: Array, line: _Line, sums: Array) -> None:
    scale, shift, _, _ = line
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            sums[c] += dy[i, c] * min(_read(x[i, c]) * scale[c] + shift[c], _zero)


@compiled()
def _input_gradient(x: Map, dy: Array, line: _Line, back: tuple[Array, Array], dx: Map) -> None:
    """`back` is what the means' and variances' own gradients come to: tilt and level, of each channel."""
    (scale, shift, code, slopes), (tilt, level) = line, back
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            number = _read(x[i, c])
            dz = dy[i, c] * _derivative(number * scale[c] + shift[c], code, slopes[c])
            dx[i, c] = _written(scale[c] * dz + (tilt[c] * number + level[c]), dx)


@compiled()
def _fold(rows: int, channels: int) -> int:
    """How many neighbouring rows are taken as one, so that the innermost loops are long where there are few channels."""
    fold = 1
    while rows % (2 * fold) == 0 and channels * fold < _LONG:
        fold *= 2
    return fold


@compiled()
def _tiled(values: Map, fold: int) -> Array:
    tiled = np.empty(fold * len(values), np.float32)
    for i in range(len(tiled)):
        tiled[i] = _read(values[i % len(values)])
    return tiled


@compiled()
def _add_folded(few: Array, sums: NDArray[np.float64]) -> None:
    """Adds to `sums` [C] what `few` [fold C] holds, and empties that."""
    for start in range(0, len(few), len(sums)):
        for c in range(len(sums)):
            sums[c] += few[start + c]
    few[:] = 0


_CHANNELS, _FLOATS, _HALVES = types.float32[::1], types.float32[:, ::1], types.uint16[:, ::1]
_NORM = types.NamedTuple([_CHANNELS] * 4 + [types.float64] * 2, Norm)
_ACT = types.NamedTuple([types.int64, _CHANNELS], Act)


def _gradients(numbers: Any) -> Any:
    return types.NamedTuple([numbers] + [_CHANNELS] * 3, Gradients)


@compiled(
    types.void(_FLOATS, _NORM, _ACT, _FLOATS, _FLOATS),
    types.void(_HALVES, _NORM, _ACT, _FLOATS, _FLOATS),
)
def batch_norm(x: Map, norm: Norm, act: Act, y: Array, kept: Array) -> None:
    """y = act(batch norm of x), running statistics moved, and what the gradient needs `kept` [4, C]; x and y [rows, C]."""
    rows, channels = x.shape
    fold = _fold(rows, channels)
    folded = x.reshape(rows // fold, fold * channels)
    around, sums, squares = _tiled(x[0], fold), np.zeros(channels), np.zeros(channels)
    few, few_squares = np.zeros(fold * channels, np.float32), np.zeros(fold * channels, np.float32)
    for first in range(0, len(folded), _AT_ONCE):
        _add_moments(folded[first : first + _AT_ONCE], around, few, few_squares)
        _add_folded(few, sums)
        _add_folded(few_squares, squares)
    for c in range(channels):
        away = sums[c] / rows
        mean, variance = _read(x[0, c]) + away, max(squares[c] / rows - away * away, 0.0)
        inverse = 1 / np.sqrt(variance + norm.epsilon)
        kept[_SCALE, c] = inverse * norm.weight[c]
        kept[_SHIFT, c] = norm.bias[c] - mean * inverse * norm.weight[c]
        kept[_MEAN, c] = mean
        kept[_INVERSE, c] = inverse
        norm.running_mean[c] += norm.momentum * (mean - norm.running_mean[c])
        norm.running_var[c] += norm.momentum * (variance * rows / (rows - 1) - norm.running_var[c])
    line = _Line(_tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold), act.code, _tiled(act.slopes, fold))
    _normalise(folded, line, y.reshape(folded.shape))


@compiled(
    types.void(_FLOATS, _FLOATS, _FLOATS, _ACT, _gradients(_FLOATS)),
    types.void(_HALVES, _FLOATS, _FLOATS, _ACT, _gradients(_HALVES)),
)
def batch_norm_gradient(x: Map, dy: Array, kept: Array, act: Act, gradients: Gradients) -> None:
    """Gradients of `batch_norm` from that of its result, dy [rows, C]."""
    rows, channels = x.shape
    fold = _fold(rows, channels)
    folded = x.reshape(rows // fold, fold * channels)
    dy = dy.reshape(folded.shape)
    line = _Line(_tiled(kept[_SCALE], fold), _tiled(kept[_SHIFT], fold), act.code, _tiled(act.slopes, fold))
    sums, products = np.zeros(channels), np.zeros(channels)
    few, few_products = np.zeros(fold * channels, np.float32), np.zeros(fold * channels, np.float32)
    for first in range(0, len(folded), _AT_ONCE):
        last = first + _AT_ONCE
        _add_products(folded[first:last], dy[first:last], line, few, few_products)
        _add_folded(few, sums)
        _add_folded(few_products, products)
    tilt, level = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        mean, inverse = kept[_MEAN, c], kept[_INVERSE, c]
        along = (products[c] - mean * sums[c]) * inverse  # the part of dz that goes with the normalised x
        gradients.weight[c] = along
        gradients.bias[c] = sums[c]
        slope = -kept[_SCALE, c] * inverse * along / rows
        tilt[c] = slope
        level[c] = -kept[_SCALE, c] * sums[c] / rows - slope * mean
    back = _tiled(tilt, fold), _tiled(level, fold)
    _input_gradient(folded, dy, line, back, gradients.x.reshape(folded.shape))
    if act.code == PRELU:
        sums[:] = 0
        for first in range(0, len(folded), _AT_ONCE):
            _add_negatives(folded[first : first + _AT_ONCE], dy[first : first + _AT_ONCE], line, few)
            _add_folded(few, sums)
        for c in range(channels):
            gradients.slopes[c] = sums[c]
