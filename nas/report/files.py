"""Writes the derived files of a run: result.json, front.csv, Pareto plots."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from nas.report.plot import plot
from nas.report.result import points, result
from nas.run.folder import Run
from nas.run.memory import read_journal
from search_spaces.errors import InputError


def write(run: Run) -> dict[str, Any]:
    """Write the derived files and return the result."""
    memory = read_journal(run.journal)
    found, rows = result(run, memory), points(run, memory)
    try:
        _write(run.path / "result.json", json.dumps(found, indent=2) + "\n")
        _write(run.path / "front.csv", _csv(rows))
        plot(run, found, rows)
    except OSError as error:
        raise InputError(
            f"cannot write the report in {run.path}: {error.strerror}; "
            f"the journal is intact, try again with `nas resume {run.path}`"
        ) from None
    return found


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
