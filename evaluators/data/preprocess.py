"""Preprocessing: the one description of how an image becomes a network's input, in training and where it is deployed."""

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
Moments = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel of pixels in 0..1
_RESIZE = {
    "crop": "scaled with its aspect kept so that it just covers the input, the longer side rounded down; centre of it cropped, "
    "offset (side - input side) / 2 rounded half to even",
    "pad": "scaled with its aspect kept so that it just fits inside the input, the shorter side rounded down, at least 1; put "
    "at the centre, offset (input side - side) / 2 rounded half to even, the rest filled",
}
_CHANNELS = {3: "RGB, red first; grey repeated three times", 1: "grey: (299 R + 587 G + 114 B) / 1000, as PIL's mode L"}


@dataclass(frozen=True)
class Fitting:
    """How an image is brought to `input` (channels, height, width): 3 channels are RGB, 1 is grey.

    `crop` covers the input and loses what is beyond it at the centre; `pad` keeps all, with black around it.
    `interpolation` is PIL's, which is antialiased. `depth` is how many bits 16-bit grey images use: the upper eight of them
    are kept, and what is above them is white.
    """

    input: tuple[int, int, int]
    fit: Fit
    interpolation: Interpolation
    depth: int = field(default=16, kw_only=True)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """An upright 8-bit image of mode RGB or L (see `upright`) in this size, uint8 [H, W, C]."""
        import numpy as np
        from PIL import Image

        channels, height, width = self.input
        rows, columns, top, left = self.placed(image.height, image.width)
        image = image.convert("L" if channels == 1 else "RGB").resize(
            (columns, rows), Image.Resampling[self.interpolation.upper()]
        )
        image = image.crop((left, top, left + width, top + height))  # what is outside of it becomes black
        return np.asarray(image).reshape(height, width, channels)

    def placed(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Of an image of height x width: height and width to scale it to, then row and column in it where the input begins."""
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
        """The network's input, float32 [1, C, H, W], of an image or a file; raises UnreadableImage that names the file.

        It is turned upright by its EXIF orientation; transparent parts become white; 16-bit grey is read as `depth` says.
        """
        import numpy as np
        from PIL import Image

        from evaluators.data._open import opened, upright

        found = upright(image, self.depth) if isinstance(image, Image.Image) else opened(Path(image), self.depth)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normal = (self.pixels(found).astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])

    def as_json(self) -> dict[str, Any]:
        """In plain types, in words for the one who deploys the network; `from_json` reads it."""
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
    """A mean or standard deviation of three channels, or of one, for `channels`: averaged or repeated where they differ."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
