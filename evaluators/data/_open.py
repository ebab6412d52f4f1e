"""Opens image files as upright 8-bit RGB, or raises an error naming the file."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from evaluators.data._unreadable import UnreadableImage

Kind = Literal["grey16", "colour16", "other"]  # 16-bit grey; 16 bits per channel; all others
ORIENTATION = 0x0112  # EXIF tag
_DEEP = re.compile(";16[BLN]'")  # in Pillow's tile descriptors
# single-image formats that Pillow decodes itself; HEIF needs pillow-heif
_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000"),
    *("PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the supported formats."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def extensions() -> Mapping[str, str]:
    """The supported formats by file extension, in lower case with the dot."""
    known = {*formats(), "MPO"}  # MPO: several images in a JPEG, which Pillow opens as a JPEG
    return {extension: name for extension, name in Image.registered_extensions().items() if name in known}


def head(file: Path) -> tuple[int, int, Kind] | None:
    """Upright width and height of an image, and its kind, without decoding it; None for a file that cannot be opened."""
    try:
        with Image.open(file, formats=formats()) as image:
            kind: Kind = "grey16" if _is_grey16(image) else "colour16" if _DEEP.search(str(image.tile)) else "other"
            known = "exif" in image.info or image.format == "TIFF"  # for other formats, getexif would decode the image
            turned = known and image.getexif().get(ORIENTATION, 1) >= 5
            return (image.height, image.width, kind) if turned else (image.width, image.height, kind)
    except Exception:  # noqa: BLE001 `opened` reports the error
        return None


def highest(file: Path) -> int:
    """The highest value of a 16-bit grey image; 0 for a file that cannot be read."""
    try:
        with Image.open(file, formats=formats()) as image:
            return int(np.asarray(image).max())
    except Exception:  # noqa: BLE001 `opened` reports the error
        return 0


def opened(file: Path, depth: int = 16, coarse: int | None = None) -> Image.Image:
    """The image in a file, `upright`; raises UnreadableImage naming it.

    With `coarse`, a large JPEG is decoded at a fraction of its size that leaves at least `coarse` pixels per side: about four
    times as fast, with slightly different pixels after resizing.
    """
    try:
        with Image.open(file, formats=formats()) as image:
            if coarse:
                image.draft(None, (coarse, coarse))
            return upright(image, depth)
    except Exception as error:
        raise UnreadableImage({str(file): _reason(error)}) from error


def upright(image: Image.Image, depth: int = 16) -> Image.Image:
    """The image as 8-bit RGB, rotated by its EXIF orientation, composed on white.

    For 16-bit grey, the upper eight of the lowest `depth` bits are kept; higher values become white.
    """
    grey16 = _is_grey16(image)
    image = ImageOps.exif_transpose(image)
    if grey16:
        image = Image.fromarray(np.minimum(np.asarray(image) >> (depth - 8), 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _is_grey16(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")  # 16-bit PPM opens in mode I


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image in a known format"
    return str(error) or type(error).__name__
