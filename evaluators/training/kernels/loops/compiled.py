"""compiled, instructions: loops as machine code, kept for the next process, and what they call that is no Python."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[np.float32]
Map = NDArray[np.float32] | NDArray[np.uint16]  # of float32, or of bfloat16 as its bits


def compiled(*signatures: Any) -> Callable[[Callable[..., object]], Any]:
    """Compiles a loop for the types of the `signatures`, or for those that other loops call it with.

    What is compiled is kept beside the loop's file or in the user's cache, so that the next process need not; where neither can
    be written, each process compiles (about eight seconds for all loops). Numba looks at that file alone to see whether it is
    still right.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

    def made(loop: Callable[..., object]) -> Any:
        try:
            return numba.njit(list(signatures) or None, cache=True, **options)(loop)
        except RuntimeError:  # no place for a cache
            return numba.njit(list(signatures) or None, **options)(loop)

    return made


def instructions(generator: Callable[..., Any]) -> Any:
    """What loops call by its name becomes the instructions that `generator` gives for the types of its arguments."""
    return intrinsic(generator)
