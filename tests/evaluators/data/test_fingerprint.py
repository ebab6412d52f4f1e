"""The fingerprint of a data set: the same wherever it lies and however it is read, another after any change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.data import load, names
from evaluators.data._fingerprint import fingerprint
from evaluators.data.sets.imagefolder import read

INPUTS = [(3, 16, 16)]


def known(spec: str | Path, **ways: Any) -> dict[str, Any]:
    return load(f"imagefolder:{spec}" if isinstance(spec, Path) else spec, inputs=INPUTS, **ways).fingerprint


@pytest.mark.parametrize("name", names())
def test_every_data_set_has_one_and_it_counts_right(name: str, sample_spec: Callable[[str], str]) -> None:
    data = load(sample_spec(name), inputs=INPUTS)
    counts = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    assert data.fingerprint == {"classes": len(data.classes), **counts, "sha256": data.fingerprint["sha256"]}
    assert len(bytes.fromhex(data.fingerprint["sha256"])) == 32
    assert known(sample_spec(name)) == data.fingerprint


def test_it_does_not_depend_on_the_place_nor_on_how_images_are_held(photos: Path) -> None:
    before = known(photos)
    assert known(photos, stream=True) == known(photos, fit="pad") == before
    moved = photos.rename(photos.with_name("moved"))
    assert known(moved) == before


def larger(photos: Path) -> None:
    with (photos / "cat" / "1.png").open("ab") as file:
        file.write(b"behind the end")


def renamed(photos: Path) -> None:
    (photos / "cat" / "1.png").rename(photos / "cat" / "10000.png")


def class_renamed(photos: Path) -> None:
    (photos / "cat").rename(photos / "cats")


def label_changed(photos: Path) -> None:
    (photos / "cat" / "1.png").rename(photos / "ape" / "a.png")


def one_more(photos: Path) -> None:
    (photos / "cat" / "more.png").write_bytes((photos / "cat" / "1.png").read_bytes())


@pytest.mark.parametrize("change", [larger, renamed, class_renamed, label_changed, one_more], ids=lambda f: f.__name__)
def test_a_change_of_the_files_changes_it(photos: Path, change: Callable[[Path], None]) -> None:
    before = known(photos)
    change(photos)
    assert known(photos)["sha256"] != before["sha256"]


def test_another_split_of_the_same_files_changes_it(photos: Path) -> None:
    found = read(photos, False)
    other = replace(found, train=found.test, test=found.train)
    assert fingerprint(other)["sha256"] != fingerprint(found)["sha256"] == known(photos)["sha256"]


def test_arrays_are_told_apart_by_their_bytes(idx_folder: Path) -> None:
    before, file = known(f"fashion-mnist:{idx_folder}"), idx_folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    after = known(f"fashion-mnist:{idx_folder}")
    assert after["sha256"] != before["sha256"] and {**after, "sha256": ""} == {**before, "sha256": ""}


def test_no_image_is_read_for_it(photos: Path) -> None:
    before = fingerprint(read(photos, False))
    for file in photos.glob("*/*"):
        file.write_bytes(bytes(file.stat().st_size))
    assert fingerprint(read(photos, False)) == before
