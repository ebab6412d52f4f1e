"""Streams batches of images that worker processes read from files, in a given order."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evaluators.data._files import Files
from evaluators.data._unreadable import UnreadableImage


def stream(files: Files, batches: Sequence[Tensor], workers: int) -> Iterator[Tensor]:
    """The images uint8 [B, C, H, W] of each batch of indices [B]; independent of the number of workers.

    With 0 workers, this process reads. Raises UnreadableImage naming a batch's unreadable files. Images are sent as arrays,
    through pipes: tensors would go through /dev/shm, and hang where that is small, as in containers.
    """
    wanted = [chosen.tolist() for chosen in batches]
    # a separate generator: by default, the loader draws its workers' seed from the one that dropout uses
    own = torch.Generator()
    loader = DataLoader(
        _Batches(files), batch_size=None, sampler=wanted, num_workers=workers, collate_fn=_as_it_is, generator=own
    )
    for images in loader:
        if isinstance(images, UnreadableImage):
            raise images
        yield torch.from_numpy(images).permute(0, 3, 1, 2)


class _Batches(Dataset[np.ndarray | UnreadableImage]):
    """Arrays uint8 [B, H, W, C]. Errors are returned, not raised: raised in a worker, they would arrive as a traceback."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getitem__(self, chosen: list[int]) -> np.ndarray | UnreadableImage:
        try:
            return self._files.read(chosen).transpose(0, 2, 3, 1)
        except UnreadableImage as error:
            return error


def _as_it_is(found: Any) -> Any:
    return found
