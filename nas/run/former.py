"""run.yaml of the format before, as the present one has it."""

from collections.abc import Mapping, Set
from typing import Any

from nas.records import FORMAT

FORMER = 6  # one mapping of all settings; accuracy and a `cost` were the objectives
_RENAMED = {"budget_ms": "latency_budget_ms", "seconds": "time_s"}


def of_former(data: Mapping[str, Any], of_config: Set[str], of_resolved: Set[str]) -> Mapping[str, Any]:
    """The same data where they are of the present format, or of one that is not known; by the fields that each part has now."""
    known = data.get("config")
    if data.get("format") != FORMER or not isinstance(known, dict):
        return data
    renamed = {_RENAMED.get(key, key): value for key, value in known.items()}
    cost = renamed.pop("cost", None)
    asked = of_config - (of_resolved - {"space"})
    config = {key: value for key, value in renamed.items() if key in asked or key not in of_resolved}
    config |= {"objectives": ["accuracy", *([cost] if cost else [])]}
    return {**data, "format": FORMAT, "config": config, "resolved": {k: v for k, v in renamed.items() if k in of_resolved}}
