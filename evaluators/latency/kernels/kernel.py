"""Kernel: one call that a runtime makes, by its class and size."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from search_spaces.schema import FromZero

Layout = Literal["plain", "blocked", "nhwc"]  # of a tensor: NCHW, channels in blocks of 16, NHWC
# What a convolution takes with it: it is cheap or dear, so a kernel's size says which, by its place here.
ACTIVATIONS = ("none", "relu", "clip", "hardsigmoid", "hardswish", "sigmoid", "leaky_relu", "tanh")
PAD = "constant_pad_nd"  # torch's name
Amount = Annotated[int, Field(ge=0, le=10**15)]
"""Of operations, elements or channels, as files may have it."""

PLAIN_WORDS = {
    "native_batch_norm": "batch_norm",
    "mean": "global_pool",
    "max_pool2d_with_indices": "max_pool",
    "avg_pool2d": "average_pool",
    "_prelu_kernel": "prelu",
    PAD: "pad",
    "permute": "transpose",
    "split_with_sizes": "split",
    "hardtanh": "clip",
    "clamp": "clip",
}


class Size(NamedTuple):
    """A kernel as it runs, channels rounded up to 16 where it works on blocks of them; elements, `pixels` of its output.

    activation: the place in ACTIVATIONS of the one that it applies to what it writes.
    """

    macs: Amount
    read: Amount
    written: Amount
    weights: Amount
    c_in: Amount
    c_out: Amount
    pixels: Amount
    kernel: Amount = 1
    stride: Amount = 1
    dilation: Amount = 1
    activation: Amount = 0


@dataclass(frozen=True)
class Kernel:
    """One kernel of class `kind`; `padded` are MACs with channels rounded up to 16, `moved` elements read and written."""

    kind: str
    macs: int
    padded: int
    moved: int
    weights: int
    size: Size


Timed = tuple[str, Size, FromZero]  # class, size, milliseconds
