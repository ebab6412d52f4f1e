"""Opens image files: upright, eight bits a channel, or the file named that cannot be read."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from evaluators.data.dataset import UnreadablePicture

BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def opened(file: Path, coarse: int | None = None) -> Image.Image:
    """The image in a file, `upright`; raises UnreadablePicture that names it.

    With `coarse` a big JPEG is decoded at a fraction of its size that leaves at least `coarse` pixels a side: some four times
    as fast, and not quite what the whole comes to when it is scaled.
    """
    try:
        with Image.open(file) as image:
            if coarse:
                image.draft(None, (coarse, coarse))
            return upright(image)
    except BROKEN as error:
        raise UnreadablePicture(f"cannot read the picture {file}: {_reason(error)}; replace or remove it") from error


def upright(image: Image.Image) -> Image.Image:
    """Eight-bit RGB, turned by its EXIF orientation; transparent parts become white, 16-bit grey keeps its upper eight bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not a picture in a known format"
    return str(error) or type(error).__name__
