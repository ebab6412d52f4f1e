"""Photos in folders: layouts, kinds of images, and what is wrong with a folder said so that it can be put right."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize

from evaluators.data import load
from evaluators.data._files import Files
from evaluators.data._open import extensions
from evaluators.data._render import Rendered
from evaluators.data.dataset import Split
from evaluators.data.preprocess import Fitting
from search_spaces.errors import InputError

INPUTS = [(3, 16, 16)]


def test_uneven_classes_are_split_class_by_class_in_torchvisions_order(photos: Path) -> None:
    data, theirs = load(f"imagefolder:{photos}", inputs=INPUTS), ImageFolder(photos)
    assert list(data.classes) == theirs.classes == ["Dog", "ape", "cat"]
    counts = [np.bincount(split.labels).tolist() for split in (data.train, data.validation, data.test)]
    assert counts == [[1, 5, 14], [1, 1, 3], [1, 1, 3]]


def test_images_are_scaled_and_cropped_as_torchvision_does(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        for name in ("a", "b"):
            _save(tmp_path / part / name / "1.png", size=(50, 37), seed=len(part + name))
    data = load(f"imagefolder:{tmp_path}", inputs=[(3, 24, 24)])
    theirs = ImageFolder(tmp_path / "val", Compose([Resize(24), CenterCrop(24)]))
    for image, (expected, label), ours in zip(_at(24, data.validation), theirs, data.validation.labels, strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), np.asarray(expected))
        assert ours == label


def test_kinds_of_pixels(tmp_path: Path) -> None:
    half = np.full((16, 16), 128, np.uint8)
    clear = np.dstack([half, half, half, np.zeros_like(half)])
    images = {
        "grey": Image.fromarray(half),
        "grey16": Image.fromarray(half.astype(np.uint16) << 8),
        "bilevel": Image.fromarray(half).convert("1", dither=Image.Dither.NONE),
        "palette": Image.fromarray(np.dstack([half] * 3)).quantize(4),
        "transparent": Image.fromarray(clear),
    }
    expected = {"bilevel": 255, "transparent": 255}
    for name, image in images.items():
        _write(image, tmp_path, name)
    data = load(f"imagefolder:{tmp_path}", inputs=INPUTS)
    for image, label in zip(data.train.images, data.train.labels, strict=True):
        assert np.all(image == expected.get(data.classes[label], 128)), data.classes[label]


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255  # white above black, stored lying on its side
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        for i in range(3):
            _save(tmp_path / name / f"{i}.jpg", image=image, exif=exif)
    image = load(f"imagefolder:{tmp_path}", inputs=[(3, 32, 32)]).train.images[0]
    assert image[:, :, :12].max() < 20 and image[:, :, 20:].min() > 235  # black left, white right


def test_a_big_jpeg_decoded_at_a_fraction_stays_close_to_the_whole(tmp_path: Path) -> None:
    smooth = Image.effect_noise((20, 15), 80).resize((800, 600), Image.Resampling.BICUBIC).convert("RGB")
    for name in ("a", "b"):
        for i in range(3):
            _save(tmp_path / name / f"{i}.jpg", image=smooth)
    image = load(f"imagefolder:{tmp_path}", inputs=[(3, 32, 32)]).train.images[0]
    whole = CenterCrop(32)(Resize(32)(Image.open(tmp_path / "a" / "0.jpg")))
    assert np.abs(image.transpose(1, 2, 0).astype(int) - np.asarray(whole)).mean() < 2  # of 255


def test_given_parts_are_kept_and_missing_ones_split_off(tmp_path: Path) -> None:
    for part, count in (("train", 20), ("valid", 4)):
        for name in ("a", "b"):
            for i in range(count):
                _save(tmp_path / part / name / f"{i}.png", seed=i)
    data = load(f"imagefolder:{tmp_path}", inputs=INPUTS)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [34, 8, 6]
    assert "15 % for test" in data.source and "% for validation" not in data.source


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for name in ("train", "plane", "test"):
        for i in range(3):
            _save(tmp_path / name / f"{i}.png", seed=i)
    assert load(f"imagefolder:{tmp_path}", inputs=INPUTS).classes == ("plane", "test", "train")


def test_hidden_files_and_other_files_are_left_out(photos: Path) -> None:
    before = load(f"imagefolder:{photos}", inputs=INPUTS)
    (photos / ".cache").mkdir()
    (photos / "__MACOSX").mkdir()
    (photos / "cat" / "._1.jpg").write_bytes(b"not an image")
    (photos / "cat" / "notes.txt").write_text("not an image")
    after = load(f"imagefolder:{photos}", inputs=INPUTS)
    assert after.classes == before.classes and np.array_equal(after.train.images, before.train.images)


def test_no_class_folders(tmp_path: Path) -> None:
    _save(tmp_path / "1.png")
    _refused(tmp_path, "contains no folders")
    _refused(tmp_path / "1.png", "is a file, not a folder")


def test_one_class_only(photos: Path) -> None:
    _refused(photos.parent, f"only one class folder, photos.*did you mean imagefolder:{photos}")
    for i in range(3):
        _save(photos.parent / "parts" / "train" / "only" / f"{i}.png")
    _refused(photos.parent / "parts", "only one class folder, only")


def test_an_empty_class_folder_is_named(photos: Path) -> None:
    (photos / "emu").mkdir()
    (photos / "emu" / "1.eps").write_bytes(b"")
    _refused(photos, r"photos/emu has no images \(\.apng .*; skipped: 1 \.eps$")


def test_a_class_with_too_few_images_is_named(photos: Path) -> None:
    (photos / "Dog" / "0.png").unlink()
    _refused(photos, 'class "Dog" has 2 images to split; it needs at least 3')


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_an_unreadable_image_is_named(photos: Path, content: bytes | str) -> None:
    file = photos / "cat" / "7.png"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if isinstance(content, str) else content)
    _refused(photos, r"cannot read the image .*cat/7\.png: .*; replace or remove it")


def test_all_unreadable_images_are_named_at_once(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("a", "b"):
            for i in range(count):
                _save(tmp_path / part / name / f"{i}.png", seed=i)
    bad = [tmp_path / place for place in ("train/a/1.png", "train/b/3.png", "val/a/0.png", "test/b/1.png")]
    for file in bad:
        file.write_bytes(file.read_bytes()[:200])
    _refused(tmp_path, "cannot read 4 images; replace or remove them:" + "".join(rf"\n  {file}: [^\n]*" for file in bad) + "$")


@pytest.mark.parametrize("extension", [".gif", ".jfif", ".avif", ".jp2", ".mpo", ".tga", ".heic"])
def test_formats_that_pillow_reads(extension: str, tmp_path: Path) -> None:
    if extension == ".heic":
        pytest.importorskip("pillow_heif")
    elif extension == ".avif" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    assert extension in extensions()  # where it is installed, this tells Pillow of HEIC
    half = Image.new("RGB", (32, 32), (128, 128, 128))
    for name in ("a", "b"):
        for i in range(3):
            _save(tmp_path / name / f"{i}{extension}", image=half)
    for stream in (False, True):
        data = load(f"imagefolder:{tmp_path}", inputs=INPUTS, stream=stream)
        images = data.train.images.read([0, 1]) if isinstance(data.train.images, Files) else data.train.images
        assert np.abs(np.asarray(images).astype(int) - 128).max() <= 2 and "32 x 32 pixels" in data.source


def test_files_that_are_another_format_than_their_name_says(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            _save(tmp_path / name / f"{i}.png")
            (tmp_path / name / f"{i}.png").rename(tmp_path / name / f"{i}.jpg")
    assert len(load(f"imagefolder:{tmp_path}", inputs=INPUTS).train) == 2
    (tmp_path / "a" / "0.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # for Ghostscript, not Pillow
    _refused(tmp_path, "a/0.jpg: it is not an image in a known format")


def test_a_truncated_jpeg_is_named(photos: Path) -> None:
    file = photos / "cat" / "4.jpg"
    file.write_bytes(file.read_bytes()[:1500])
    _refused(photos, r"cat/4\.jpg: .*truncated")


def test_classes_of_the_parts_differ(tmp_path: Path) -> None:
    for folder in ("train/a", "train/b", "test/a", "test/c"):
        for i in range(3):
            _save(tmp_path / folder / f"{i}.png")
    _refused(tmp_path, "classes of train and test in .* differ: only train has b; only test has c")


def test_parts_without_a_training_part_or_twice(tmp_path: Path) -> None:
    for folder in ("test/a", "test/b", "val/a", "val/b"):
        _save(tmp_path / folder / "1.png")
    _refused(tmp_path, "no folder train")
    for folder in ("train/a", "train/b", "valid/a"):
        _save(tmp_path / folder / "1.png")
    _refused(tmp_path, "both val and valid; keep one")


def test_pixels_of_32_bits_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            _save(tmp_path / name / f"{i}.tif", image=Image.fromarray(np.zeros((9, 9), np.float32)))
    _refused(tmp_path, "32 bits")


def _at(side: int, split: Split) -> np.ndarray:
    assert isinstance(split.images, Rendered)
    return split.images.at(Fitting((3, side, side), "crop", "bilinear"))


def _refused(path: Path, words: str) -> None:
    for stream in (False, True):
        with pytest.raises(InputError, match=words):
            load(f"imagefolder:{path}", inputs=INPUTS, stream=stream)


def _write(image: Image.Image, folder: Path, name: str) -> None:
    for i in range(3):
        _save(folder / name / f"{i}.png", image=image)


def _save(
    file: Path,
    size: tuple[int, int] = (16, 16),
    seed: int = 0,
    image: Image.Image | None = None,
    exif: Image.Exif | bytes = b"",
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    (image or Image.fromarray(pixels)).save(file, **({"exif": exif} if exif else {}))
