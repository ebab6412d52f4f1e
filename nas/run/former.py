"""Converts run.yaml and train.yaml of earlier formats to the current one."""

from collections.abc import Mapping, Set
from typing import Any

from nas.records import FORMAT

SEPARATE = 7  # recipes called images "pictures"
FORMER = 6  # also: all settings in one mapping; `cost` instead of `objectives`
FORMER_TRAINING = 5  # train.yaml: recipes called images "pictures"
_OF_RECIPES = {"least_pictures": "least_images", "most_pictures": "most_images"}
_RENAMED = {"budget_ms": "latency_budget_ms", "seconds": "time_s"}


def of_former(data: Mapping[str, Any], of_config: Set[str], of_resolved: Set[str]) -> Mapping[str, Any]:
    """run.yaml in the current format; unchanged if current or unknown."""
    data = _split_config(data, of_config, of_resolved) if data.get("format") == FORMER else data
    known = data.get("resolved")
    if data.get("format") != SEPARATE or not isinstance(known, dict):
        return data
    recipes = {name: _recipe(known[name]) for name in ("recipe", "final_recipe") if name in known}
    return {**data, "format": FORMAT, "resolved": known | recipes}


def _recipe(recipe: Any) -> Any:
    """Rename the fields of an earlier recipe; anything else is unchanged."""
    return {_OF_RECIPES.get(key, key): value for key, value in recipe.items()} if isinstance(recipe, dict) else recipe


def of_former_training(data: Mapping[str, Any], present: int) -> Mapping[str, Any]:
    """train.yaml in the current format; unchanged if current or unknown."""
    plan = data.get("plan")
    if data.get("format") != FORMER_TRAINING or not isinstance(plan, dict):
        return data
    return {**data, "format": present, "plan": {**plan, "recipe": _recipe(plan.get("recipe"))}}


def _split_config(data: Mapping[str, Any], of_config: Set[str], of_resolved: Set[str]) -> Mapping[str, Any]:
    """Split the single mapping of format 6 into config and resolved."""
    known = data.get("config")
    if not isinstance(known, dict):
        return data
    renamed = {_RENAMED.get(key, key): value for key, value in known.items()}
    cost = renamed.pop("cost", None)
    asked = of_config - (of_resolved - {"space"})
    config = {key: value for key, value in renamed.items() if key in asked or key not in of_resolved}
    config |= {"objectives": ["accuracy", *([cost] if cost else [])]}
    return {**data, "format": SEPARATE, "config": config, "resolved": {k: v for k, v in renamed.items() if k in of_resolved}}
