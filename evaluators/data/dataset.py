"""Dataset: a split data set prepared for the networks' inputs.

A new data set is a new file in the folder sets/. Nothing heavy is imported until images are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evaluators.data.preprocess import Fit, Interpolation, Moments, Preprocessing, per_channel

if TYPE_CHECKING:
    import numpy as np

    from evaluators.data._files import Files
    from evaluators.data._render import Rendered

Input = tuple[int, int, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 [N, C, H, W], at one size, at each input, or in files, with labels int64 [N].

    Images at another size than a network's input are resized batch by batch (evaluators.training.batches).
    """

    images: np.ndarray | Rendered | Files
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Disjoint training, validation and test sets for networks with one of `inputs`.

    Label i means `classes[i]`; `source` is for reports. `fit`, `interpolation` and `depth` say how images are preprocessed.
    `moments` are the mean and standard deviation of the training pixels, estimated from a sample when streaming, and computed
    on demand if None. `fingerprint` identifies the data set (evaluators.data._fingerprint); it is empty if made in code.
    """

    name: str
    inputs: tuple[Input, ...]
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: str
    fit: Fit = "crop"
    interpolation: Interpolation = "bilinear"
    moments: Moments | None = None
    fingerprint: dict[str, Any] = field(default_factory=dict)
    depth: int = 16

    def mean_std(self) -> Moments:
        """Mean and standard deviation per channel of the training pixels in 0..1; the latter at least LEAST_STD."""
        from evaluators.data._render import mean_std

        mean, std = self.moments or mean_std(cast("np.ndarray", self.train.images))
        channels = self.inputs[0][0]
        return per_channel(mean, channels), per_channel(std, channels)

    def preprocessing(self, input: Input, mean: Sequence[float], std: Sequence[float]) -> Preprocessing:
        """The preprocessing for a network's input; a `mean` and `std` of three channels are averaged for a grey input."""
        channels = input[0]
        mean, std = per_channel(mean, channels), per_channel(std, channels)
        return Preprocessing(input, self.fit, self.interpolation, mean, std, depth=self.depth)


@dataclass(frozen=True, eq=False)
class Images:
    """Original images: an array uint8 [N, H, W] or [N, H, W, 3], or files; labels int64 [N]."""

    items: np.ndarray | list[Path]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """What a data set's reader returns: the original splits; `left_out` counts skipped files by kind."""

    classes: tuple[str, ...]
    train: Images
    validation: Images
    test: Images
    source: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The common folder of all files; "" for arrays."""
        parts = (self.train, self.validation, self.test)
        parents = {os.path.dirname(file) for part in parts if isinstance(part.items, list) for file in part.items}
        return os.path.commonpath(parents or {""})
