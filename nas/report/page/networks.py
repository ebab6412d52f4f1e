"""The networks that report.html shows, with their names."""

from typing import Any

from search_spaces.anchor import base_name


def networks_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The retrained networks, the winner first, then the most accurate; with a `name`, and whether one is the `best`."""
    entries = {entry["id"]: entry for entry in (*found["anchors"], *found["finalists"])}
    best = found["best"]["id"] if found["best"] else None
    named = [{**e, "name": name_of(e), "best": e["id"] == best} for e in entries.values()]
    return sorted(named, key=lambda e: (not e["best"], -(e["test_accuracy"] or 0), -(e["validation_accuracy"] or 0)))


def name_of(entry: dict[str, Any]) -> str:
    return base_name(entry["anchor"]) if entry["anchor"] else f"found {entry['id']}"
