"""`nas list`: names with a one-line description, without importing torch or ray."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from evaluators.data import summaries
from evaluators.inheritance.offers import offers
from evaluators.latency.runtime import summaries as runtime_summaries
from evaluators.training.recipe import RECIPES
from nas import samplers
from nas.console import make_console
from nas.executors import evaluators
from nas.export import formats
from search_spaces.anchor import anchors
from search_spaces.registry import block_kinds
from search_spaces.registry import show as show_value
from search_spaces.space_file import load_space, space_names
from search_spaces.task import size_text

if TYPE_CHECKING:
    from evaluators.latency.device.profile import Profile


def show(what: str) -> None:
    make_console().print(
        {
            "spaces": _spaces,
            "blocks": _blocks,
            "anchors": _anchors,
            "donors": _donors,
            "devices": _devices,
            "datasets": _datasets,
            "samplers": _samplers,
            "evaluators": _evaluators,
            "recipes": _recipes,
            "runtimes": _runtimes,
            "formats": _formats,
        }[what]()
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _spaces() -> Table:
    table = _table("space", "inputs", "genotypes", "anchors inside", "description")
    for space in map(load_space, space_names()):
        inside = ", ".join(name for name, where in {**space.anchors, **space.other_anchors}.items() if where == "inside")
        table.add_row(
            space.name, ", ".join(map(size_text, space.inputs)), f"10^{math.log10(space.size):.1f}", inside, space.summary
        )
    return table


def _blocks() -> Table:
    table = _table("block", "knobs and defaults", "description")
    for kind in block_kinds().values():
        table.add_row(kind.name, " ".join(f"{k.name}={show_value(k.default)}" for k in kind.knobs.values()), kind.summary)
    return table


def _anchors() -> Table:
    table = _table("anchor", "family", "params M", "MACs M", "published top-1", "paper")
    for a in anchors():
        top1 = "-" if a.published.top1 is None else f"{a.published.top1:.1f}"
        table.add_row(a.name, a.family, f"{a.params / 1e6:.2f}", f"{a.macs / 1e6:.0f}", top1, a.paper)
    return table


def _donors() -> Table:
    table = _table("donor", "weights", "input", "params M", "top-1", "licence", "available")
    for offer in offers():
        known, top1 = offer.anchor, offer.trained.top1
        figures = "x".join(map(str, known.task.input)), f"{known.params / 1e6:.2f}", "-" if top1 is None else f"{top1:.1f}"
        table.add_row(offer.name, offer.origin, *figures, offer.trained.licence, offer.how)
    return table


def _devices() -> Table:
    from evaluators.latency.device.profile_files import list_profiles

    table = _table("device", "file", "calibrated for")
    for found in list_profiles():
        table.add_row(found.name, str(found.path), _calibrated_for(found.profile) if found.profile else found.problem)
    return table


def _calibrated_for(profile: "Profile") -> str:
    return ", ".join(calibration.space for calibration in profile.spaces.values())


def _datasets() -> Table:
    return _summaries("data set", summaries())


def _samplers() -> Table:
    return _summaries("sampler", samplers.summaries())


def _evaluators() -> Table:
    return _summaries("evaluator", evaluators.summaries())


def _formats() -> Table:
    return _summaries("export format", formats.summaries())


def _recipes() -> Table:
    table = _table("recipe", "epochs", "optimizer", "learning rate", "surgery")
    for name in RECIPES.names():
        _, recipe = RECIPES.read(name)  # unchecked: checking a surgery imports torch
        surgery = (recipe.get("surgery") or {}).get("kind", "")
        table.add_row(name, str(recipe["epochs"]), recipe["optimizer"], f"{recipe['learning_rate']:g}", surgery)
    return table


def _runtimes() -> Table:
    return _summaries("runtime", runtime_summaries())


def _summaries(kind: str, lines: Mapping[str, str]) -> Table:
    table = _table(kind, "description")
    for name, line in lines.items():
        table.add_row(name, line)
    return table
