"""Brings pictures, in arrays or in files, to uint8 arrays of one size."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from evaluators.data.dataset import Triple, UnreadablePicture
from search_spaces.errors import InputError

SAMPLE = 200  # files whose headers are read to learn the pictures' own size
BATCH = 256
BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def own_size(items: np.ndarray | list[Path]) -> int:
    """The short side of the pictures, pixels; of files, the median over a sample spread evenly over them."""
    if isinstance(items, np.ndarray):
        return int(min(items.shape[1:3]))
    step = -(-len(items) // SAMPLE)
    return int(np.median([_short_side(path) for path in items[::step]]))


def render(items: np.ndarray | list[Path], size: int, progress: Callable[[int], None]) -> np.ndarray:
    """The pictures as uint8 [N, 3, size, size]; `progress` is told how many are done.

    Raises UnreadablePicture that names the first file which cannot be read as a picture.
    """
    if not isinstance(items, np.ndarray):
        return _decode(items, size, progress)
    if items.shape[1:3] == (size, size):
        progress(len(items))
        return _channels_first(items)
    return _resize(items, size, progress)


def picture(file: Path, size: int) -> np.ndarray:
    """The picture in a file, uint8 [3, size, size]; raises UnreadablePicture that names it."""
    return np.asarray(_fitter(size)(_open(file, size))).transpose(2, 0, 1)


def fits_memory(count: int, size: int) -> bool:
    """Whether `count` pictures of `size` x `size` take at most half of the available memory."""
    return needed_bytes(count, size) <= available_bytes() / 2


def check_memory(count: int, size: int) -> None:
    """Raises InputError unless `count` pictures of `size` x `size` fit in memory."""
    if not fits_memory(count, size):
        available = available_bytes()
        fits = int((available / 2 / count / 3) ** 0.5)
        raise InputError(
            f"{count:,} pictures of {size} x {size} pixels take {gib(needed_bytes(count, size))} of memory, more than half "
            f"of the {gib(available)} available; give --train-size {fits} or less, or fewer pictures"
        )


def needed_bytes(count: int, size: int) -> int:
    """Memory that `count` pictures of `size` x `size` take, bytes."""
    return count * 3 * size * size


def available_bytes() -> int:
    """Memory that can be had without swapping, bytes: the system's, or the container's limit if that is lower."""
    meminfo, limit = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if meminfo.exists():
        found += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        found.append(int(text))
    return min(found)


def mean_std(images: np.ndarray) -> tuple[Triple, Triple]:
    """Mean and standard deviation of each channel of uint8 [N, 3, H, W], in units of 255; exact, from histograms."""
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), BATCH):
        for channel in range(3):
            counts[channel] += np.bincount(images[start : start + BATCH, channel].ravel(), minlength=256)
    levels, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    means = shares @ levels
    stds = np.sqrt((shares * (levels - means[:, None]) ** 2).sum(axis=1))
    return _triple(means), _triple(stds)


def _triple(values: np.ndarray) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    """[N, H, W] or [N, H, W, 3] as contiguous [N, 3, H, W]."""
    if pixels.ndim == 3:
        return np.repeat(pixels[:, None], 3, axis=1)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _resize(pixels: np.ndarray, size: int, progress: Callable[[int], None]) -> np.ndarray:
    import torch

    fit, out = _fitter(size), np.empty((len(pixels), 3, size, size), np.uint8)
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(_channels_first(pixels[start : start + BATCH]))
        out[start : start + BATCH] = fit(batch).numpy()
        progress(min(start + BATCH, len(pixels)))
    return out


def _decode(files: list[Path], size: int, progress: Callable[[int], None]) -> np.ndarray:
    out = np.empty((len(files), 3, size, size), np.uint8)
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for i, pixels in enumerate(pool.map(lambda file: picture(file, size), files)):
            out[i] = pixels
            progress(i + 1)
    finally:
        pool.shutdown(cancel_futures=True)
    return out


@cache
def _fitter(size: int) -> Callable[[Any], Any]:
    """Scales the short side to `size` and crops at the centre: PIL pictures or tensors [N, 3, H, W]."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    return Compose([Resize(size, InterpolationMode.BILINEAR, antialias=True), CenterCrop(size)])  # type: ignore[no-any-return]


def _open(file: Path, size: int) -> Image.Image:
    """The picture as upright RGB. A big JPEG is decoded at a fraction of its size, at least twice `size`."""
    try:
        with Image.open(file) as opened:
            opened.draft(None, (2 * size, 2 * size))
            return _rgb(ImageOps.exif_transpose(opened))
    except BROKEN as error:
        raise UnreadablePicture(f"cannot read the picture {file}: {_reason(error)}; replace or remove it") from error


def _rgb(picture: Image.Image) -> Image.Image:
    """Eight-bit RGB; transparent parts become white, 16-bit grey keeps its upper eight bits."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits a channel")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _short_side(path: Path) -> int:
    try:
        with Image.open(path) as opened:
            return min(opened.size)
    except BROKEN as error:
        raise UnreadablePicture(f"cannot read the picture {path}: {_reason(error)}; replace or remove it") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not a picture in a known format"
    return str(error) or type(error).__name__


def gib(count: float) -> str:
    return f"{count / 2**30:.2g} GiB"
