"""What the line about a data set says: classes, images of each part, sizes, and whatever is unusual in them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluators.data import Dataset, load
from evaluators.data._words import left_out_words
from evaluators.data.preprocess import Fit

INPUTS = [(3, 16, 16)]


def image(seed: int, size: tuple[int, int] = (20, 20)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 10 and 20 images, all different."""
    for label, (name, count) in enumerate({"cat": 10, "dog": 20}.items()):
        (tmp_path / name).mkdir()
        for i in range(count):
            image(100 * label + i).save(tmp_path / name / f"{i}.png")
    return tmp_path


def data(folder: Path, fit: Fit = "crop", stream: bool = False) -> Dataset:
    return load(f"imagefolder:{folder}", inputs=INPUTS, fit=fit, stream=stream)


def test_an_ordinary_folder(folder: Path) -> None:
    assert data(folder).source == (
        f"photos in {folder}; its training images, split by class: 15 % for validation and 15 % for test; "
        "2 classes (cat, dog); 20 training images (6 to 14 a class), 5 validation images (2 to 3 a class), "
        "5 test images (2 to 3 a class); 20 x 20 pixels"
    )


def test_uneven_classes_are_told_with_what_naming_the_largest_gains(folder: Path) -> None:
    for i in range(20, 60):
        image(1000 + i).save(folder / "dog" / f"{i}.png")
    found = data(folder)
    share = np.mean(found.test.labels == found.classes.index("dog"))
    assert f"uneven classes: dog for every test image would be right on {share:.1%} (see --metric" in found.source


def test_many_classes_are_told_in_part(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"class {i:02}").mkdir()
        for k in range(3):
            image(10 * i + k).save(tmp_path / f"class {i:02}" / f"{k}.png")
    assert "12 classes (class 00, class 01, class 02, class 03, ..., class 11)" in data(tmp_path).source


def test_sizes_and_what_is_left_out(folder: Path) -> None:
    image(7, (30, 40)).save(folder / "cat" / "large.png")
    (folder / "cat" / "1.eps").write_bytes(b"")
    for name in ("a.txt", "b.txt"):
        (folder / "dog" / name).write_text("")
    (folder / "dog" / "up").symlink_to("..")
    source = data(folder).source
    assert "; 20 x 20 to 30 x 40 pixels; " in source
    assert source.endswith("; left out: 2 .txt, 1 .eps, 1 symbolic links")


def test_heic_that_is_left_out_says_what_reads_it() -> None:
    words = left_out_words({".txt": 1, ".heic": 40})
    assert words == "40 .heic, 1 .txt (to read .heic: pip install 'compact-nas[heic]')"


def test_turned_images_are_told_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            image(i, (90, 30)).save(tmp_path / name / f"{name}{i}.jpg", exif=exif)
    assert "; 30 x 90 pixels" in data(tmp_path).source


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_elongated_images_are_told(folder: Path, fit: Fit) -> None:
    image(7, (400, 9)).save(folder / "cat" / "long.png")
    image(8, (10, 21)).save(folder / "dog" / "tall.png")
    image(8, (40, 20)).save(folder / "dog" / "wide.png")  # half of it: no more than that is lost
    lost = {"crop": "lose more than half to the crop; --fit pad keeps all", "pad": "fill less than half of the input"}
    assert f"elongated images (2, such as cat/long.png, 400 x 9) {lost[fit]}" in data(folder, fit).source


@pytest.mark.parametrize("stream", [False, True])
def test_exact_copies_in_another_part_are_told(folder: Path, stream: bool) -> None:
    assert "exact copies" not in data(folder, stream=stream).source
    for part, count in (("train", 6), ("val", 4), ("test", 4)):
        for name in ("cat", "dog"):
            (folder / "parts" / part / name).mkdir(parents=True)
            for i in range(count):
                image(1000 * len(part) + 100 * len(name) * (name > "cat") + i).save(folder / "parts" / part / name / f"{i}.png")
    within = folder / "parts" / "train" / "dog"
    (within / "again.png").write_bytes((within / "1.png").read_bytes())
    assert "exact copies" not in data(folder / "parts", stream=stream).source  # in one part, it is no harm to the accuracies
    (folder / "parts" / "test" / "cat" / "copy.png").write_bytes((within / "1.png").read_bytes())
    source = data(folder / "parts", stream=stream).source
    assert "3 images have exact copies in another set (such as train/dog/1.png and test/cat/copy.png)" in source


def test_files_are_read_for_copies_only_where_sizes_are_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluators.data import _facts

    for i, file in enumerate(sorted(folder.glob("*/*.png"))):
        file.write_bytes(file.read_bytes() + bytes(1000 * i))
    read: list[Path] = []
    monkeypatch.setattr(_facts, "_end", lambda file: read.append(file))
    data(folder)
    assert read == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("channels", "words"), [((0,), "red hardly varies"), ((0, 2), "red and blue hardly vary")])
def test_constant_channels_are_told(folder: Path, channels: tuple[int, ...], words: str, stream: bool) -> None:
    assert "hardly" not in data(folder, stream=stream).source
    for i, file in enumerate(folder.glob("*/*.png")):
        pixels = np.asarray(image(i)).copy()
        pixels[..., list(channels)] = 93
        Image.fromarray(pixels).save(file)
    assert f"{words}: the standard deviation is taken as 0.05" in data(folder, stream=stream).source


def test_names_that_cannot_be_shown_are_escaped(folder: Path) -> None:
    image(1, (400, 9)).save(folder / "cat" / "a\nb.png")
    assert "cat/a\\nb.png" in data(folder).source
