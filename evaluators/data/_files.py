"""Images streamed from files, for data sets that do not fit in memory."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluators.data._render import empty, in_threads, mean_std, read_image, render
from evaluators.data._unreadable import UnreadableImage
from evaluators.data.preprocess import Fitting, Moments

SAMPLE = 2000  # images for the mean and standard deviation of the pixels


@dataclass(frozen=True, eq=False)
class Files:
    """Stands in for an array uint8 [N, C, H, W]; images are decoded on each read, deterministically.

    `paths` are file names as bytes [N]: a single array, which processes share without copying. `training` images are decoded
    coarsely at the largest input, like those held in memory, whatever the network's input.
    """

    paths: np.ndarray
    fitting: Fitting
    training: bool

    @classmethod
    def of(cls, paths: Sequence[Path], fitting: Fitting, training: bool) -> "Files":
        names = [os.fsencode(path.absolute()) for path in paths]  # workers run in other folders
        return cls(np.array(names), fitting, training)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: slice | np.ndarray) -> "Files":
        return replace(self, paths=self.paths[chosen])

    @property
    def nbytes(self) -> int:
        """Memory used, in bytes."""
        return self.paths.nbytes

    def at(self, fitting: Fitting) -> "Files":
        """The same files, resized from the original to `fitting`; training images stay as they are."""
        return self if self.training else replace(self, fitting=fitting)

    def read(self, indexes: Sequence[int]) -> np.ndarray:
        """The images at these indexes, uint8 [B, C, H, W]; raises UnreadableImage naming all unreadable files."""
        out = empty(len(indexes), self.fitting)
        unreadable: dict[str, str] = {}
        for place, index in zip(out, indexes, strict=True):
            try:
                place[:] = read_image(self._path(index), self.fitting, coarse=self.training)
            except UnreadableImage as error:
                unreadable |= error.reasons
        if unreadable:
            raise UnreadableImage(unreadable)
        return out

    def unreadable(self, progress: Callable[[int], None]) -> dict[str, str]:
        """Decodes every file and returns the unreadable ones with the reason; `progress` gets the number done."""
        found: dict[str, str] = {}
        for i, reasons in enumerate(in_threads(self._wrong_with, range(len(self)))):
            found |= reasons
            progress(i + 1)
        return found

    def _wrong_with(self, index: int) -> dict[str, str]:
        try:
            self.read([index])
        except UnreadableImage as error:
            return error.reasons
        return {}

    def sampled_mean_std(self) -> Moments:
        """Mean and standard deviation per channel, in units of 255, over an evenly spaced sample of the files."""
        chosen = np.arange(0, len(self), -(-len(self) // SAMPLE))
        paths = [self._path(index) for index in chosen.tolist()]
        return mean_std(render(paths, [self.fitting], self.training, lambda done: None).at(self.fitting))

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(self.paths[index]))
