"""Photos listed in a CSV file: the same images as in folders, and what is wrong with a list said by line."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluators.data import load
from evaluators.data._render import Rendered
from evaluators.data.dataset import Split
from evaluators.data.sets.csv import read
from search_spaces.errors import InputError

INPUTS = [(3, 16, 16)]


def _save(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(file)


def _write(file: Path, header: list[str], rows: list[tuple[object, ...]]) -> str:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])
    return f"csv:{file}"


@pytest.fixture
def listed(tmp_path: Path) -> list[tuple[str, str]]:
    """Rows of the images in folder/CLASS/."""
    rows = []
    for label, count in (("cat", 8), ("dog", 12)):
        for number in range(count):
            _save(tmp_path / "folder" / label / f"{number:02}.png", 100 * len(rows))
            rows.append((f"folder/{label}/{number:02}.png", label))
    return rows


def test_a_list_is_the_folder_that_it_lists(listed: list[tuple[str, str]], tmp_path: Path) -> None:
    data = load(_write(tmp_path / "labels.csv", ["path", "label"], listed), inputs=INPUTS)
    folder = load(f"imagefolder:{tmp_path / 'folder'}", inputs=INPUTS)
    assert data.classes == folder.classes == ("cat", "dog")
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(data, part), getattr(folder, part)
        assert np.array_equal(ours.labels, theirs.labels) and np.array_equal(_pixels(ours), _pixels(theirs))
    assert "15 % for validation and 15 % for test" in data.source


def _pixels(split: Split) -> np.ndarray:
    return split.images.arrays[16, 16] if isinstance(split.images, Rendered) else split.images


def test_parts_are_as_listed(listed: list[tuple[str, str]], tmp_path: Path) -> None:
    parts = ["train", "train", "val", "Test"]
    rows = [(*row, parts[i % 4]) for i, row in enumerate(listed)]
    data = load(_write(tmp_path / "labels.csv", ["path", "label", "part"], rows), inputs=INPUTS)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [10, 5, 5]
    assert "15 %" not in data.source


def test_columns_in_any_order_and_others_beside_them(listed: list[tuple[str, str]], tmp_path: Path) -> None:
    rows = [(i, label, path) for i, (path, label) in enumerate(listed)]
    file = tmp_path / "labels.csv"
    spec = _write(file, ["id", "label", "path"], rows)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as spreadsheets save it
    assert len(load(spec, inputs=INPUTS).train) == 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n", "lists no images"),
        ("", "has no column path; its first line has nothing"),
        ("paths,label\na.png,a\n", 'has no column path; did you mean "paths"\\?; its first line has paths, label'),
        ("path,class\na.png,a\n", "has no column label"),
        ("path,label\nfolder/cat/00.png,\n", "line 2: the label is empty"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        (
            "path,label\nfolder/cat/00.png,cat\nfolder/cat/99.png,dog\nno.png,dog\n",
            "line 3: there is no file .*99.png and 1 more",
        ),
        ("path,label\nfolder/cat/00.png,cat\nfolder/cat/00.png,dog\n", "line 3: .*00.png is listed in line 2 too"),
        ("path,label\nfolder/cat/00.png,cat\n", "has 1 classes; at least two are needed"),
        ("path,label,part\nfolder/cat/00.png,cat,trian\n", 'line 2: part must be train, val or test, not "trian"'),
        (
            "path,label,part\nfolder/cat/00.png,cat,train\nfolder/dog/00.png,dog,test\n",
            "train images in .* none of the class dog",
        ),
        ('path,label\n"folder,cat\n', "is not a CSV file in UTF-8"),
        ("path,label\nfolder/cat/00.png,c\x07t\n", "line 2: the label c.* has unprintable characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(listed: list[tuple[str, str]], tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load(f"csv:{tmp_path / 'labels.csv'}", inputs=INPUTS)


@pytest.mark.parametrize(
    ("spec", "message"), [("csv", "needs the file"), ("csv:{}", "is a folder"), ("csv:{}/no.csv", "does not exist")]
)
def test_a_file_is_needed(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(spec.format(tmp_path), inputs=INPUTS)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_data_set_or_one_message(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(InputError):
        read(file, False)
    file.write_bytes(b"path,label,part\n" + content)
    with pytest.raises(InputError):
        read(file, False)
