"""Classify images with the exported network: needs numpy, pillow and onnxruntime, or ai-edge-litert for a .tflite file.

usage: python predict.py PHOTO|FOLDER ... [--top N] [--model FILE]

Prints a line for each image: its path, then the classes with their probabilities, tab-separated, best first. Images in a folder
are searched for in all its folders. The network's file, its classes and how images are prepared are in model.json, beside this
script. Exit code 1 if an image cannot be read, 2 if nothing can be classified.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
Run = Callable[[np.ndarray], np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PHOTO|FOLDER")
    parser.add_argument("--top", type=int, default=1, help="classes to print for each image")
    parser.add_argument(
        "--model", help="an .onnx or .tflite file beside this script; default: the one that model.json has figures of"
    )
    asked = parser.parse_args()
    images = [image for path in asked.paths for image in images_in(path)]
    if not images:
        parser.error("there are no images in " + ", ".join(map(str, asked.paths)))
    classifier, unreadable = Classifier(HERE, asked.model), 0
    for path in images:
        try:
            probabilities = classifier(path)
        except Exception as error:  # noqa: BLE001 whatever an image's decoder raises
            unreadable += 1
            print(f"{path}: cannot be read: {error}", file=sys.stderr)
            continue
        best = np.argsort(-probabilities, kind="stable")[: max(1, asked.top)]
        print(path, *(f"{classifier.classes[i]}\t{probabilities[i]:.4f}" for i in best), sep="\t")
    return 1 if unreadable else 0


def images_in(path: Path) -> list[Path]:
    """The image itself, or those in a folder, sorted; a path that does not exist counts as an image that cannot be read."""
    if not path.is_dir():
        return [path]
    Image.init()
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in Image.EXTENSION and file.is_file())


class Classifier:
    """The network in a folder with model.json; `model` is its file, by default the one whose figures model.json gives."""

    def __init__(self, folder: Path, model: str | None = None) -> None:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.classes: list[str] = card["classes"]
        self.preprocessing: dict[str, Any] = card["preprocessing"]
        file = model or card.get("figures_of", "model.onnx")
        self.run = (tflite if file.endswith(".tflite") else onnx)(str(folder / file))

    def __call__(self, path: Path) -> np.ndarray:
        """The probability of each class for the image in a file."""
        logits = self.run(prepared(path, self.preprocessing))[0]
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()  # type: ignore[no-any-return]


def onnx(file: str) -> Run:
    """A function from an image [1, C, H, W] to logits [N, classes]; N is the file's batch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]
    times = batch if isinstance(batch, int) else 1
    return lambda image: session.run(["logits"], {"image": np.repeat(image, times, axis=0)})[0]


def tflite(file: str) -> Run:
    """A function from an image [1, C, H, W] to logits [1, classes]."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(file).get_signature_runner()
    return lambda image: next(iter(run(args_0=image).values()))


def prepared(path: Path, how: dict[str, Any]) -> np.ndarray:
    """The network's input, float32 [1, C, H, W]: upright, resized, cropped or padded, normalised."""
    channels, height, width = how["input"]
    with Image.open(path) as opened:
        image = upright(opened, how["grey_bits"]).convert("L" if channels == 1 else "RGB")
    rows, columns = resized(image.height, image.width, how)
    image = image.resize((columns, rows), Image.Resampling[how["interpolation"].upper()])
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    image = image.crop((left, top, left + width, top + height))  # what is outside the image becomes black
    pixels = np.asarray(image).reshape(height, width, channels).astype(np.float32) / 255
    normal = (pixels - np.array(how["mean"], np.float32)) / np.array(how["std"], np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def resized(height: int, width: int, how: dict[str, Any]) -> tuple[int, int]:
    """Height and width to resize to: covering the input, to be cropped, or within it, to be padded; aspect kept."""
    _, rows, columns = how["input"]
    if (rows * width >= columns * height) == (how["fit"] == "crop"):
        return rows, max(1, width * rows // height)
    return max(1, height * columns // width), columns


def upright(image: Image.Image, grey_bits: int) -> Image.Image:
    """The image as 8-bit RGB, turned upright by its EXIF orientation, on white where it is transparent."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    image = ImageOps.exif_transpose(image)
    if deep:
        image = Image.fromarray(np.minimum(np.asarray(image) >> (grey_bits - 8), 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


if __name__ == "__main__":
    sys.exit(main())
