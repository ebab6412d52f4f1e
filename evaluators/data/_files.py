"""Pictures that stay in their files, for sets that do not fit in memory."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluators.data._pictures import mean_std, picture, render
from evaluators.data.dataset import Triple

SAMPLE = 2000  # pictures that the mean and standard deviation of the pixels are taken from


@dataclass(frozen=True, eq=False)
class Files:
    """In place of an array uint8 [N, 3, size, size]: decoded whenever they are read, in the same way and so to the same.

    `paths` are the files' names as bytes [N]: one array, which processes share without a copy.
    """

    paths: np.ndarray
    size: int

    @classmethod
    def of(cls, paths: Sequence[Path], size: int) -> "Files":
        return cls(np.array([os.fsencode(path.absolute()) for path in paths]), size)  # workers run in folders of their own

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def nbytes(self) -> int:
        """Memory that is taken, bytes."""
        return self.paths.nbytes

    def read(self, indexes: Sequence[int]) -> np.ndarray:
        """The pictures with these indexes, uint8 [B, 3, size, size]; raises UnreadablePicture naming the first bad file."""
        out = np.empty((len(indexes), 3, self.size, self.size), np.uint8)
        for place, index in zip(out, indexes, strict=True):
            place[:] = picture(self._path(index), self.size)
        return out

    def sampled_mean_std(self, progress: Callable[[int, int], None]) -> tuple[Triple, Triple]:
        """Mean and standard deviation of each channel, in units of 255, over a sample spread evenly over the files."""
        chosen = np.arange(0, len(self), -(-len(self) // SAMPLE))
        paths = [self._path(index) for index in chosen.tolist()]
        return mean_std(render(paths, self.size, lambda done: progress(done, len(paths))))

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(self.paths[index]))
