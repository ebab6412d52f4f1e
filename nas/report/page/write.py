"""Writes report.html: a run's result, journal and figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.report.page import PAGE, figures
from nas.report.page.facts import by_class, command_of, reasons_of, rows_of_blocks
from nas.report.page.genes import genes
from nas.report.page.mistakes import mistakes_of
from nas.report.page.networks import networks_of
from nas.report.page.render import rendered, write
from nas.report.result import points, result
from nas.run.folder import Run
from nas.run.importance import gene_importances
from nas.run.memory import read_journal

if TYPE_CHECKING:
    from evaluators.data import Dataset


def write_page(run: Run, dataset: "Dataset | None" = None, path: Path | None = None) -> Path:
    """Write the report of a run, finished or not, by default in its folder; returns the path.

    Without its data set, that is loaded if there are images to show. Raises InputError if the report cannot be written.
    """
    return write(path or run.path / PAGE, page(run, dataset), f"nas report {run.path}")


def page(run: Run, dataset: "Dataset | None" = None, version: str | None = None) -> str:
    """The report as HTML; `version` as in nas.report.page.render.rendered."""
    memory = read_journal(run.journal, genes=True)
    found = result(run, memory)
    best = found["best"]
    mistakes, why = mistakes_of(run, best, dataset) if best else ([], "")
    importances = gene_importances(run.journal)
    drawn = {
        "front": figures.front(found, points(run, memory)),
        "curves": figures.curves(memory, found),
        "predictions": figures.predictions(found),
        "importances": figures.importances(importances),
        "genes": genes(memory.trials, importances),
        "confusion": figures.confusion(best, run.resolved.classes) if best else None,
    }
    return rendered(
        "page.html",
        drawn,
        version=version,
        found=found,
        best=best,
        networks=networks_of(found),
        blocks=rows_of_blocks(run, best, memory) if best else [],
        mistakes=mistakes,
        without_mistakes=why,
        classes=by_class(best["confusion"], run.resolved.classes) if best else [],
        reasons=reasons_of(memory),
        command=command_of(run),
        run=run,
    )
