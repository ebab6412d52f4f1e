"""Spaces share a calibration when their networks are the same to a device, whatever they are called."""

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.device.space_key import space_key
from search_spaces.errors import InputError
from search_spaces.space_file import load_space, space_names

STORED = Path(__file__).parents[2] / "data" / "profile_mobile.json"


def shipped(name: str) -> str:
    return (files("search_spaces.spaces") / f"{name}.yaml").read_text()


def key_of(folder: Path, text: str, name: str = "own") -> str:
    (folder / f"{name}.yaml").write_text(text)
    return space_key(load_space(str(folder / f"{name}.yaml")))


def wider(text: str) -> str:
    """Every width eight times as large."""
    return re.sub(r"width: \[(.*)\]", lambda m: f"width: [{', '.join(str(8 * int(w)) for w in m[1].split(','))}]", text)


@pytest.mark.parametrize("name", space_names())
def test_a_copy_under_another_name_is_the_same_space(name: str, tmp_path: Path) -> None:
    space, text = load_space(name), shipped(name)
    assert key_of(tmp_path, text) == space_key(space)
    without_anchors = text.partition("anchors:")[0]
    assert key_of(tmp_path, without_anchors.replace("name: s", "name: stage_")) == space_key(space)
    assert space_key(replace(space.with_anchors(["squeezenet"]), padding="same")) == space_key(space)


@pytest.mark.parametrize(
    "change",
    [
        wider,
        lambda text: text.replace("input: [3, 32, 32]", "input: [3, 32, 48]"),
        lambda text: text.replace("input: [3, 32, 32]", "input: {channels: 3, size: [24, 32]}"),
        lambda text: text.replace("depth: [1, 2, 3]\n", "depth: [1, 2, 3, 9]\n"),
        lambda text: text.replace("stride: 2", "stride: 1", 1),
        lambda text: text.replace("kernel: [3, 5]", "kernel: [3, 5, 7]", 1),
        lambda text: text.replace("expand: {each: [1, 2, 3, 4, 6]}", "expand: {each: [1, 2, 3, 4]}"),
        lambda text: text.replace("      shuffle: {kernel: [3, 5], act: [relu, hard_swish]}\n", ""),
        lambda text: text.replace("conv: {kernel: 1,", "conv: {"),
    ],
)
def test_what_changes_the_networks_changes_the_key(change: Callable[[str], str], tmp_path: Path) -> None:
    text = shipped("tiny")
    assert change(text) != text and key_of(tmp_path, change(text), "tiny") != space_key(load_space("tiny"))


@pytest.mark.parametrize(
    ("found", "same"),
    [("width: [16, 24, 32]", "width: [32, 16, 24]"), ("conv: {kernel: 1, ", "conv: {groups: 1, kernel: 1, ")],
)
def test_the_order_of_choices_and_defaults_do_not_count(found: str, same: str, tmp_path: Path) -> None:
    text = shipped("tiny")
    assert found in text and key_of(tmp_path, text.replace(found, same)) == space_key(load_space("tiny"))


def test_a_calibration_is_found_by_content_alone(tmp_path: Path) -> None:
    profile = load_profile(str(STORED), anywhere=True)
    (tmp_path / "copy.yaml").write_text(shipped("mobile"))
    (tmp_path / "mobile.yaml").write_text(wider(shipped("mobile")))
    copy, own = (load_space(str(tmp_path / f"{name}.yaml")) for name in ("copy", "mobile"))
    assert profile.calibration(copy) is profile.calibration(load_space("mobile"))
    with pytest.raises(InputError, match=r'"mobile" \(measured: mobile; a space of that name had other blocks or inputs\)'):
        profile.calibration(own)
