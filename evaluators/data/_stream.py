"""Batches of images that worker processes read from their files, in the order that is asked for."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evaluators.data._files import Files
from evaluators.data.dataset import UnreadablePicture


def stream(files: Files, batches: Sequence[Tensor], workers: int) -> Iterator[Tensor]:
    """For each of `batches`, indices [B], its images uint8 [B, C, H, W]: the same whatever the number of workers.

    With 0 workers this process reads. Raises UnreadablePicture naming the first file that cannot be read.
    """
    wanted = [chosen.tolist() for chosen in batches]
    # a generator of its own: the loader draws a seed for its workers, by default from the one that dropout draws from
    own = torch.Generator()
    for images in DataLoader(_Batches(files), batch_size=None, sampler=wanted, num_workers=workers, generator=own):
        if isinstance(images, UnreadablePicture):
            raise images
        yield images


class _Batches(Dataset[Tensor | UnreadablePicture]):
    """Errors are handed over like images: raised in a worker, the loader would wrap them in a traceback."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getitem__(self, chosen: list[int]) -> Tensor | UnreadablePicture:
        try:
            return torch.from_numpy(self._files.read(chosen))
        except UnreadablePicture as error:
            return error
