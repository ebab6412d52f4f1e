"""The gradient of a depthwise convolution by its weight: a loop that Numba compiles.

Without it, the trainings of a search of `mobile` take 15 % longer (benchmarks/training.md).
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def _compiled(signature: str) -> Callable[[Callable[..., None]], Any]:
    """Compiles a loop for one signature, cached beside this file or in the user's cache if either is writable."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

    def compile_loop(loop: Callable[..., None]) -> Any:
        try:
            return numba.njit(signature, cache=True, **options)(loop)
        except RuntimeError:  # Numba found no writable cache
            return numba.njit(signature, **options)(loop)

    return compile_loop


@_compiled("void(f4[:,:,:,::1], f4[:,:,:,::1], UniTuple(i8, 3), f4[:,:,::1])")
def depthwise_weight_gradient(x: Array, dy: Array, geometry: tuple[int, int, int], dweight: Array) -> None:
    """Add to dweight [K, K, C] the gradient by the weight, from input x [N, H, W, C] and output gradient dy [N, H', W', C].

    `geometry` is stride, padding, dilation.
    """
    images, height, width, channels = x.shape
    stride, padding, dilation = geometry
    kernel = dweight.shape[0]
    for n in range(images):
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
