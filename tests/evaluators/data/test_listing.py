"""Which files of a folder of photos are read and as what: parts, classes, links, and what is left out and counted."""

import hashlib
import os
import tarfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shared_data import shared_file
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from evaluators.data._layout import part_of
from evaluators.data._listing import images
from evaluators.data._open import extensions
from evaluators.data.dataset import Found
from evaluators.data.sets.imagefolder import read
from search_spaces.errors import InputError

SPELLINGS = {
    "train": ["train", "Train", "TRAIN", "training", "train_set", "Training Set", "trainset", "train2017", "train-images"],
    "validation": ["val", "VAL", "valid", "Validation", "val_set", "validation set", "dev", "Val (2)", "valid_images"],
    "test": ["test", "Test", "TEST", "testing", "test_set", "Test Images", "testset", "data_test", "test-data"],
}
OTHERS = [
    "cat",
    "trained",
    "strain",
    "protest",
    "contest",
    "valley",
    "interval",
    "trainer",
    "latest",
    "device",
    "set",
    "2017",
    "",
]


def files(found: Found) -> list[Path]:
    return [file for part in (found.train, found.validation, found.test) for file in part.items]


def filled(folder: Path, count: int = 3, extension: str = ".png") -> Path:
    """A folder with so many files named as images: listing does not read them."""
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}{extension}").write_bytes(bytes(str(folder), "utf-8") + bytes(i))
    return folder


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in SPELLINGS.items() for name in names])
def test_parts_are_known_in_the_usual_spellings(part: str, name: str) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize("name", OTHERS)
def test_other_words_are_no_parts(name: str) -> None:
    assert part_of(name) is None


@given(*(st.sampled_from(SPELLINGS[part]) for part in SPELLINGS), st.sampled_from([(1,), (2,), (1, 2)]))
@settings(max_examples=20)
def test_part_folders_are_never_classes(
    tmp_path_factory: pytest.TempPathFactory, train: str, val: str, test: str, others: tuple[int, ...]
) -> None:
    root = tmp_path_factory.mktemp("parts")
    kept = [train, *((val, test)[number - 1] for number in others)]
    for part in kept:
        for name in ("cat", "dog", "emu"):
            filled(root / part / name, 5)
    found = read(root, False)
    assert found.classes == ("cat", "dog", "emu")
    assert len(files(found)) == 15 * len(kept)
    for part, name in ((found.validation, val), (found.test, test)):
        assert {file.parts[-3] for file in part.items} == {name if name in kept else train}


AMBIGUOUS = {
    "train/cat train/dog TRAIN/cat TRAIN/dog": "both TRAIN and train; keep one",
    "train/cat train/dog val/cat val/dog validation/cat validation/dog": "both val and validation; keep one",
    "test/cat test/dog val/cat val/dog": "no folder train",
    "train/cat train/dog test": "test contains no folders.*sort its images into class folders",
    "train/cat train/dog holdout/cat holdout/dog": "images in holdout next to it: is that a set or a class",
    "train/steam train/diesel plane boat": "images in boat next to it: is that a set or a class",
    "seg_train/cat seg_train/dog seg_test/cat seg_test/dog": "seg_test and seg_train .* contain the same folders",
    "my train/cat my train/dog rest/cat rest/dog": "my train and rest .* contain the same folders",
    "cat/train cat/test dog/train dog/test": "class folder .*cat contains folders test and train; .* the other way round",
    "train test": "no folder train with one folder of images per class",
}


@pytest.mark.parametrize(("layout", "words"), AMBIGUOUS.items())
def test_what_may_be_parts_or_classes_is_refused(layout: str, words: str, tmp_path: Path) -> None:
    for name in layout.replace("my train", "my_train").split():
        filled(tmp_path / name.replace("my_train", "my train"))
    with pytest.raises(InputError, match=words):
        read(tmp_path, False)


CLASSES = {
    "train plane test": "three classes by these names",
    "cat/day cat/night dog/day dog/night": "folders in classes",
    "cat/train cat/car dog": "a class with one folder that is named like a part",
}


@pytest.mark.parametrize("layout", CLASSES)
def test_classes_stay_classes(layout: str, tmp_path: Path) -> None:
    for name in layout.split():
        filled(tmp_path / name)
    found = read(tmp_path, False)
    assert set(found.classes) == {name.partition("/")[0] for name in layout.split()}
    assert len(files(found)) == 3 * len(layout.split())


def test_folders_without_images_beside_parts_are_counted(tmp_path: Path) -> None:
    for name in ("train/a", "train/b"):
        filled(tmp_path / name)
    filled(tmp_path / "annotations", extension=".xml")
    assert read(tmp_path, False).left_out == {"folders without images": 1}


def links_back(root: Path) -> None:
    (root / "a" / "up").symlink_to("..")


def two_links(root: Path) -> None:
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "again").symlink_to("../a")


def link_to_itself(root: Path) -> None:
    (root / "a" / "loop.png").symlink_to("loop.png")
    (root / "a" / "none.png").symlink_to("nowhere.png")


def links_to_images(root: Path) -> None:
    (root / "a" / "same.png").symlink_to("0.png")
    (root / "a" / "other.png").symlink_to("../b/0.png")


def link_to_a_class(root: Path) -> None:
    (root / "c").symlink_to("a")
    (root / "all").symlink_to(root)


@pytest.mark.parametrize("change", [links_back, two_links, link_to_itself, links_to_images, link_to_a_class])
def test_links_that_leave_the_class_or_lead_back_are_counted_not_followed(change, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path / "root"
    for name in "ab":
        filled(root / name)
    before = read(root, False)
    change(root)
    after = read(root, False)
    assert files(after) == files(before) and after.classes == before.classes
    assert after.left_out == {"symbolic links": 1 if change is links_back else 2}


def test_links_to_what_is_not_read_otherwise_are_read(tmp_path: Path) -> None:
    filled(tmp_path / "root" / "a")
    store = filled(tmp_path / "root" / "a" / ".store")
    (tmp_path / "root" / "a" / "kept.png").symlink_to(store / "0.png")
    (tmp_path / "root" / "a" / "twice.png").symlink_to(store / "0.png")
    (tmp_path / "root" / "b").symlink_to(filled(tmp_path / "elsewhere"))
    found = read(tmp_path / "root", False)
    assert [file.name for file in sorted(files(found))] == ["0.png", "1.png", "2.png", "kept.png", "0.png", "1.png", "2.png"]
    assert found.left_out == {"hidden": 1, "symbolic links": 1}


def test_a_class_of_links_that_lead_elsewhere_says_so(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    for name in "ab":
        (tmp_path / "root" / name).mkdir(parents=True)
        for file in store.iterdir():
            (tmp_path / "root" / name / file.name).symlink_to(file)
    with pytest.raises(InputError, match=r"root/a has no images .* skipped: 3 symbolic links"):
        read(tmp_path / "root", False)


def test_what_is_no_regular_file_is_counted_not_opened(tmp_path: Path) -> None:
    for name in "ab":
        filled(tmp_path / name)
    os.mkfifo(tmp_path / "a" / "x.png")
    found = read(tmp_path, False)
    assert len(files(found)) == 6 and found.left_out == {"special files": 1}


def test_files_of_systems_and_storage_devices_are_no_classes(tmp_path: Path) -> None:
    for name in ("a", "b", "@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".git", "lost+found", "System Volume Information"):
        filled(tmp_path / name)
    filled(tmp_path / "a" / "@eaDir" / "0.png", extension=".jpg")
    (tmp_path / "a" / "._0.png").write_bytes(b"")
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"")
    found = read(tmp_path, False)
    assert found.classes == ("a", "b") and len(files(found)) == 6
    assert found.left_out == {"hidden": 10}


def test_both_spellings_of_an_accented_letter_are_one_class(tmp_path: Path) -> None:
    composed, parted = "café", unicodedata.normalize("NFD", "café")
    for part, names in (("train", [composed, "tea"]), ("test", [parted, "tea"])):
        for name in names:
            filled(tmp_path / part / name, 5)
    found = read(tmp_path, False)
    assert found.classes == (composed, "tea") and len(found.test.items) == 10
    filled(tmp_path / "train" / parted, 4)
    assert np.bincount(read(tmp_path, False).train.labels).tolist() == [8, 4]


def test_every_format_that_is_read_is_listed_and_the_rest_counted(tmp_path: Path) -> None:
    kinds = [".gif", ".jfif", ".avif", ".JPG", ".Webp", ".txt", ".mp4", ".eps", ""]
    for name in "ab":
        for kind in kinds:
            filled(tmp_path / name / f"kind{kind}", 2, kind)
    (tmp_path / "notes.md").write_text("beside")
    found = read(tmp_path, False)
    assert {file.suffix for file in files(found)} == {".gif", ".jfif", ".avif", ".JPG", ".Webp"}
    assert found.left_out == {".txt": 4, ".mp4": 4, ".eps": 4, "without extension": 4, "beside the folders": 1}


def test_extensions_are_torchvisions_and_more_that_pillow_reads() -> None:
    known = {extension: name for extension, name in Image.registered_extensions().items() if name in Image.OPEN}
    assert set(IMG_EXTENSIONS) < set(extensions()) <= {*known, ".mpo"}


def test_names_that_cannot_be_shown(tmp_path: Path) -> None:
    for name in ("a", "b"):
        filled(tmp_path / name)
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\n.png")).write_bytes(b"x")
    assert len(files(read(tmp_path, False))) == 7
    filled(tmp_path / "c\nd")
    with pytest.raises(InputError, match=r"c\\nd has unprintable characters in its name"):
        read(tmp_path, False)


SPLIT = {  # of TrashNet, from the version before links, parts and formats were told apart
    "train": (1769, "f5300ca2fe6825f5e7df09a8dd65952a87f0a1630883fb6626da4b67ac4abcb2"),
    "validation": (379, "56dcd5153315be5543d9f62ae2d86e41ada7a1ad643535571ea89f38804e7bfc"),
    "test": (379, "207d788700e24a248901a3b1d93dbe7c61c4ec1bc31a91a88c04f80f1536d3c7"),
}


def test_the_split_of_a_folder_stays_as_it_was(tmp_path: Path) -> None:
    with tarfile.open(shared_file("trashnet_128.tar")) as packed:
        packed.extractall(tmp_path, filter="data")
    folder = tmp_path / "trashnet_128"
    found = read(folder, False)
    assert list(found.classes) == ImageFolder(folder).classes
    for name, (count, digest) in SPLIT.items():
        part = getattr(found, name)
        lines = [f"{file.relative_to(folder)} {label}" for file, label in zip(part.items, part.labels.tolist(), strict=True)]
        assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()) == (count, digest)


def test_images_are_in_the_order_of_torchvision(tmp_path: Path) -> None:
    for name in ("a", "a-b", "a b", "B", "a/x", "a/x-y", "a/x/z"):
        filled(tmp_path / name, 11)
    found, theirs = read(tmp_path, False), ImageFolder(tmp_path)
    for label in range(len(found.classes)):
        listed = images([tmp_path / found.classes[label]], Counter())
        assert list(map(str, listed)) == [file for file, target in theirs.samples if target == label]
