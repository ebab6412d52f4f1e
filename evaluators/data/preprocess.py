"""Preprocessing: how an image becomes a network's input, in training and in deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Fit = Literal["crop", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Moments = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation per channel of pixels in 0..1
_RESIZE = {
    "crop": "scaled with its aspect kept so that it just covers the input, the longer side rounded down; centre of it cropped, "
    "offset (side - input side) / 2 rounded half to even",
    "pad": "scaled with its aspect kept so that it just fits inside the input, the shorter side rounded down, at least 1; put "
    "at the centre, offset (input side - side) / 2 rounded half to even, the rest filled",
}
_CHANNELS = {3: "RGB, red first; grey repeated three times", 1: "grey: (299 R + 587 G + 114 B) / 1000, as PIL's mode L"}


@dataclass(frozen=True)
class Fitting:
    """Resizes an image to `input` (channels, height, width): 3 channels are RGB, 1 is grey.

    `crop` covers the input and takes the centre crop; `pad` keeps the whole image, with black around it. `interpolation` is
    PIL's, which is antialiased. `depth` is how many bits 16-bit grey images use: the upper eight of them are kept, and higher
    values become white.
    """

    input: tuple[int, int, int]
    fit: Fit
    interpolation: Interpolation
    depth: int = field(default=16, kw_only=True)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Resizes an upright 8-bit image of mode RGB or L (see `upright`) to uint8 [H, W, C]."""
        import numpy as np
        from PIL import Image

        channels, height, width = self.input
        rows, columns, top, left = self.placed(image.height, image.width)
        image = image.convert("L" if channels == 1 else "RGB").resize(
            (columns, rows), Image.Resampling[self.interpolation.upper()]
        )
        image = image.crop((left, top, left + width, top + height))  # pixels outside the image become black
        return np.asarray(image).reshape(height, width, channels)

    def placed(self, height: int, width: int) -> tuple[int, int, int, int]:
        """For a height x width image: height and width to resize to, then row and column where the input starts."""
        _, rows, columns = self.input
        if (rows * width >= columns * height) == (self.fit == "crop"):
            scaled = rows, max(1, width * rows // height)
        else:
            scaled = max(1, height * columns // width), columns
        return *scaled, round((scaled[0] - rows) / 2), round((scaled[1] - columns) / 2)


@dataclass(frozen=True)
class Preprocessing(Fitting):
    """A Fitting, then (pixel / 255 - mean) / std; `mean` and `std` are per channel of pixels in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image | Path | str) -> np.ndarray:
        """Preprocesses an image or a file to float32 [1, C, H, W]; raises UnreadableImage naming the file.

        Applies the EXIF orientation, composes transparency on white, and reads 16-bit grey by `depth`.
        """
        import numpy as np
        from PIL import Image

        from evaluators.data._open import opened, upright

        found = upright(image, self.depth) if isinstance(image, Image.Image) else opened(Path(image), self.depth)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normal = (self.pixels(found).astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])

    def as_json(self) -> dict[str, Any]:
        """As plain types, with descriptions for whoever deploys the network; `from_json` reads it."""
        return {
            "input": list(self.input),
            "channels": _CHANNELS[self.input[0]],
            "orientation": "turned upright by its EXIF orientation",
            "transparency": "composed on white",
            "depth": f"16-bit grey: divided by {2 ** (self.depth - 8)}, rounded down, at most 255",
            "grey_bits": self.depth,
            "fit": self.fit,
            "resize": _RESIZE[self.fit],
            "interpolation": self.interpolation,
            "antialias": True,
            "fill": 0 if self.fit == "pad" else None,
            "scale": "pixel / 255, minus mean, divided by std",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        channels, height, width = data["input"]
        mean, std, depth = tuple(data["mean"]), tuple(data["std"]), data.get("grey_bits", 16)
        return cls((channels, height, width), data["fit"], data["interpolation"], mean, std, depth=depth)


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Converts a mean or standard deviation between one and three channels, by averaging or repeating."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
