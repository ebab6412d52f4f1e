"""Anchor: a hand-designed network as a genotype, with its published and its exact figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from search_spaces import resources
from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_FOLDER = "search_spaces.anchors"


@dataclass(frozen=True)
class Published:
    """Figures as printed, and what they count."""

    params_m: float | None
    macs_m: float | None
    top1: float | None
    counts: str
    source: str


@dataclass(frozen=True)
class Anchor:
    """A hand-designed network; `params` (batch norm's affine pair included) and `macs` (no biases) are exact for `task`."""

    name: str
    family: str
    paper: str
    task: Task
    genotype: Genotype
    published: Published
    params: int
    macs: int
    notes: str = ""


def anchor_names() -> list[str]:
    """`name` for a file's default variant, `name:variant` for the others."""
    return [_full_name(stem, variant, data) for stem, data in _files() for variant in data["variants"]]


def anchor(name: str) -> Anchor:
    """The anchor called `name` or `name:variant`; raises InputError with the near miss."""
    known = _anchors()
    stem, _, variant = name.partition(":")
    full = stem if variant == _defaults().get(stem) else name
    if full in known:
        return known[full]
    raise InputError(f'there is no anchor "{name}"{near_miss(name, known)}')


def anchors() -> list[Anchor]:
    """Every anchor, by name."""
    return list(_anchors().values())


@cache
def _files() -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple((stem, resources.read(_FOLDER, "anchor", stem)[1]) for stem in resources.names(_FOLDER))


@cache
def _defaults() -> Mapping[str, str]:
    return {stem: str(data["default"]) for stem, data in _files()}


@cache
def _anchors() -> Mapping[str, Anchor]:
    found = [_anchor(stem, variant, data) for stem, data in _files() for variant in data["variants"]]
    return {a.name: a for a in sorted(found, key=lambda a: a.name)}


def _full_name(stem: str, variant: str, data: dict[str, Any]) -> str:
    return stem if str(variant) == str(data["default"]) else f"{stem}:{variant}"


def _anchor(stem: str, variant: str, data: dict[str, Any]) -> Anchor:
    entry = data["variants"][variant]
    name = _full_name(stem, variant, data)
    try:
        return Anchor(
            name=name,
            family=data["family"],
            paper=data["paper"],
            task=Task(tuple(entry["input"]), int(entry["classes"])),
            genotype=Genotype.parse(entry["genotype"], f"anchors/{stem}.yaml, variant {variant}"),
            published=Published(**entry["published"]),
            params=int(entry["exact"]["params"]),
            macs=int(entry["exact"]["macs"]),
            notes=str(entry.get("notes", "")),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"anchors/{stem}.yaml, variant {variant}: missing or wrong entry: {error}") from None
