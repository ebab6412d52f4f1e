"""What a network is evaluated on is exactly what its exported description makes of the original file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

from evaluators.data import Preprocessing, load
from evaluators.data._render import LEAST_STD
from evaluators.data.preprocess import Fit, Interpolation
from evaluators.training.batches import Batches

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUARE, RECTANGULAR = ((96, 96), (64, 64)), ((80, 48), (50, 30))
SIZES = [(400, 300), (31, 57), (96, 96), (700, 20), (9, 300), (97, 95)]  # width, height: larger, smaller, very elongated
MODES = ["RGB", "L", "RGBA", "P", "P with transparency", "LA", "I;16", "CMYK", "1", "YCbCr"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of several sizes, modes and EXIF orientations; the folders for training and testing hold two each."""
    folder = tmp_path_factory.mktemp("photos")
    kinds = [(size, "RGB", 1) for size in SIZES] + [((70, 50), mode, 1) for mode in MODES]
    kinds += [((70 + 300 * (o % 2), 50), "RGB", o) for o in range(1, 9)] + [((1600, 1200), "RGB", 6)]
    for i, (size, mode, orientation) in enumerate(kinds):
        _save(folder / "val" / "ab"[i % 2] / f"{i}", size, mode, orientation, seed=i)
    for part in ("train", "test"):
        for name in "ab":
            _save(folder / part / name / "0", (50, 40), "RGB", 1, seed=0)
    return folder


def _save(file: Path, size: tuple[int, int], mode: str, orientation: int, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(coarse).astype(int) + rng.integers(-20, 21, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    if mode == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(file.with_suffix(".png"), exif=exif)
    elif mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(pixels[..., 1]))
        image.convert(mode).save(file.with_suffix(".png"), exif=exif)
    elif mode.startswith("P"):
        image.convert("P").save(file.with_suffix(".png"), exif=exif, **({"transparency": 7} if " " in mode else {}))
    else:
        lossless = mode in ("1", "L")
        image.convert(mode).save(file.with_suffix(".png" if lossless else ".jpg"), exif=exif)


@pytest.mark.parametrize("stream", [False, True], ids=["held", "streamed"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("sizes", [SQUARE, RECTANGULAR], ids=["square", "rectangular"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_networks_are_evaluated_on_what_their_description_makes_of_the_file(
    photos: Path, fit: Fit, sizes: tuple[tuple[int, int], ...], channels: int, stream: bool
) -> None:
    data = load(f"imagefolder:{photos}", inputs=[(channels, *size) for size in sizes], fit=fit, stream=stream)
    files = [file for name in "ab" for file in sorted((photos / "val" / name).iterdir())]
    assert len(files) == len(data.validation) == len(SIZES) + len(MODES) + 9
    for size in sizes:
        how = data.preprocessing((channels, *size), MEAN, STD)
        exported = Preprocessing.from_json(json.loads(json.dumps(how.as_json())))
        for validation in (data.validation, data.test):
            shown = Batches.of(validation, how, CPU)
            images = torch.cat([images for images, _ in shown.in_order(5)])
            if validation is data.validation:
                assert np.array_equal(images.numpy(), np.concatenate([exported(file) for file in files]))
                assert np.array_equal(images[:1].numpy(), exported(Image.open(files[0])))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(96, 96), (80, 48), (30, 70)])
def test_it_is_what_pil_and_torchvision_make_of_the_file(
    photos: Path, fit: Fit, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    how = Preprocessing((3, *size), fit, interpolation, MEAN, STD)
    for file in (photos / "val").glob("*/*"):
        image = ImageOps.exif_transpose(Image.open(file))
        if image.mode == "I;16":
            image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
        if image.mode in ("RGBA", "LA") or "transparency" in image.info:
            image, front = Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            image.alpha_composite(front)
        expected = F.normalize(
            F.to_dtype(F.to_image(_placed(image.convert("RGB"), size, fit, interpolation)), scale=True), MEAN, STD
        )
        # float32 throughout: some roundings of numbers up to 1, in units of the least std
        np.testing.assert_allclose(how(file)[0], expected.numpy(), atol=4 * np.finfo(np.float32).eps / min(STD))


def _placed(image: Image.Image, size: tuple[int, int], fit: Fit, interpolation: Interpolation) -> Image.Image:
    """By torchvision on PIL images: Resize by the side that decides, then CenterCrop or Pad."""
    (height, width), (w, h) = size, image.size
    scale = (max if fit == "crop" else min)(height / h, width / w)
    rows, columns = (height, int(w * height / h)) if scale == height / h else (int(h * width / w), width)
    resized = F.resize(image, [max(rows, 1), max(columns, 1)], F.InterpolationMode(interpolation))
    if fit == "crop":
        return F.center_crop(resized, list(size))
    left, top = (round((whole - part) / 2) for whole, part in zip((width, height), resized.size, strict=True))
    return F.pad(resized, [left, top, width - resized.width - left, height - resized.height - top])


@given(
    own=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    into=st.tuples(st.integers(8, 400), st.integers(8, 400)),
    fit=st.sampled_from(["crop", "pad"]),
)
def test_crop_covers_the_input_and_pad_fits_inside_with_the_aspect_kept(
    own: tuple[int, int], into: tuple[int, int], fit: Fit
) -> None:
    rows, columns, top, left = Preprocessing((3, *into), fit, "bilinear", MEAN, STD).placed(*own)
    beyond = (rows - into[0], columns - into[1])
    assert 0 in beyond and all((extra >= 0) if fit == "crop" else (extra <= 0) for extra in beyond)
    assert abs(top - beyond[0] / 2) <= 0.5 and abs(left - beyond[1] / 2) <= 0.5
    exact = own[1] * rows / own[0] if beyond[0] == 0 else own[0] * columns / own[1]
    assert abs((columns if beyond[0] == 0 else rows) - exact) <= 1


@pytest.mark.parametrize("into", [(3, 40, 40), (1, 40, 64), (3, 28, 28), (1, 12, 12)])
def test_arrays_are_evaluated_on_what_the_description_makes_of_them(into: tuple[int, int, int], idx_folder: Path) -> None:
    data = load(f"fashion-mnist:{idx_folder}", inputs=[into], fit="pad")
    how = data.preprocessing(into, *data.mean_std())
    images, _ = next(Batches.of(data.test, how, CPU).in_order(20))
    originals = load(f"fashion-mnist:{idx_folder}", inputs=[(3, 28, 28)]).test.images
    assert isinstance(originals, np.ndarray)
    expected = [how(Image.fromarray(image)) for image in originals[:20, 0]]
    assert np.array_equal(images.numpy(), np.concatenate(expected))


def test_a_grey_input_averages_the_mean_and_deviation_of_three_channels(idx_folder: Path) -> None:
    data = load(f"fashion-mnist:{idx_folder}", inputs=[(1, 28, 28)])
    how = data.preprocessing((1, 28, 28), MEAN, STD)
    assert how.mean == pytest.approx([np.mean(MEAN)]) and how.std == pytest.approx([np.mean(STD)])


def test_a_constant_channel_comes_to_zero(tmp_path: Path) -> None:
    for name in "ab":
        for i in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (20, 20), (200, 30, 7)).save(tmp_path / name / f"{i}.png")
    data = load(f"imagefolder:{tmp_path}", inputs=[(3, 16, 16)])
    how = data.preprocessing((3, 16, 16), *data.mean_std())
    assert np.abs(how(tmp_path / "a" / "0.png")).max() < 1e-4


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
@pytest.mark.parametrize(("bits", "depth"), [(7, 8), (8, 8), (10, 10), (12, 12), (16, 16)])
@pytest.mark.parametrize("stream", [False, True])
def test_16_bit_grey_images_of_any_range_keep_256_levels(
    tmp_path: Path, kind: str, bits: int, depth: int, stream: bool
) -> None:
    ramp = np.linspace(0, 2**bits - 1, 1024).round().astype(np.uint16).reshape(32, 32)
    for part, pixels in (("train", ramp), ("val", ramp // 3), ("test", np.minimum(ramp * 4.0, 65535).astype(np.uint16))):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(2):
                _save16(tmp_path / part / name / f"{i}.{kind}", np.rot90(pixels, i + 2 * (name == "b")))
    data = load(f"imagefolder:{tmp_path}", inputs=[(1, 32, 32)], stream=stream)
    how = data.preprocessing((1, 32, 32), (0.5,), (0.25,))
    exported = Preprocessing.from_json(json.loads(json.dumps(how.as_json())))
    assert data.depth == exported.depth == depth and f"(12) use {depth} bits" in data.source
    for split, part, pixels in ((data.train, "train", ramp), (data.test, "test", np.minimum(ramp * 4.0, 65535))):
        shown, _ = next(Batches.of(split, how, CPU).in_order(4))
        levels = np.minimum(pixels.astype(int) // 2 ** (depth - 8), 255)
        np.testing.assert_allclose(shown[0, 0].numpy(), (levels / 255 - 0.5) / 0.25, atol=1e-6)
        assert np.array_equal(shown[:1].numpy(), exported(tmp_path / part / "a" / f"0.{kind}"))
    assert len(np.unique(exported(tmp_path / "train" / "a" / f"0.{kind}"))) == min(2**bits, 256)


def _save16(file: Path, pixels: np.ndarray) -> None:
    """16-bit grey; Pillow writes no such PGM."""
    if file.suffix == ".pgm":
        head = f"P5 {pixels.shape[1]} {pixels.shape[0]} 65535\n".encode()
        file.write_bytes(head + pixels.astype(">u2").tobytes())
    else:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file)


def test_a_channel_that_is_constant_stays_bounded_and_is_exported_as_it_is_trained(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), np.uint8)
            pixels[..., 2] = 93
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    data = load(f"imagefolder:{tmp_path}", inputs=[(3, 20, 20)])
    how = data.preprocessing((3, 20, 20), *data.mean_std())
    assert how.std == data.mean_std()[1] == (*how.std[:2], LEAST_STD)
    extremes = [how(Image.new("RGB", (20, 20), colour)) for colour in ("black", "white")]
    assert max(np.abs(image).max() for image in extremes) < 1 / LEAST_STD
    assert Preprocessing.from_json(how.as_json()) == how


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_description_is_read_back_as_it_was(fit: Fit) -> None:
    how = Preprocessing((1, 96, 64), fit, "bicubic", (0.5,), (0.25,), depth=12)
    assert Preprocessing.from_json(json.loads(json.dumps(how.as_json()))) == how
    assert replace(how, input=(3, 8, 8)) != how
