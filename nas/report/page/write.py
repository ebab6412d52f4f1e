"""Writes report.html: fills the template with a run's result, journal and figures."""

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.report.page import PAGE, figures
from nas.report.page.facts import by_class, command_of, reasons_of, rows_of_blocks
from nas.report.page.mistakes import mistakes_of
from nas.report.page.networks import networks_of
from nas.report.result import points, result
from nas.run.folder import Run
from nas.run.importance import gene_importances
from nas.run.memory import read_journal
from search_spaces.errors import InputError, os_reason

if TYPE_CHECKING:
    from evaluators.data import Dataset


def write_page(run: Run, dataset: "Dataset | None" = None) -> Path:
    """Write the report of a run, finished or not, and return its path; raises InputError if it cannot be written.

    Without its data set, that is loaded if there are images to show.
    """
    path, part = run.path / PAGE, run.path / f".{PAGE}.part"
    text = page(run, dataset)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {os_reason(error)}; `nas report {run.path}` writes it again") from None
    return path


def page(run: Run, dataset: "Dataset | None" = None) -> str:
    """The report as HTML."""
    from jinja2 import Environment, StrictUndefined

    memory = read_journal(run.journal)
    found = result(run, memory)
    best = found["best"]
    mistakes, why = mistakes_of(run, best, dataset) if best else ([], "")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda value: "–" if value is None else f"{value:.2%}", "number": _number}
    template = environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    drawn = {
        "front": figures.front(found, points(run, memory)),
        "curves": figures.curves(memory, found),
        "predictions": figures.predictions(found),
        "importances": figures.importances(gene_importances(run.journal)),
        "confusion": figures.confusion(best, run.resolved.classes) if best else None,
    }
    return template.render(
        found=found,
        best=best,
        networks=networks_of(found),
        blocks=rows_of_blocks(run, best) if best else [],
        mistakes=mistakes,
        without_mistakes=why,
        classes=by_class(best["confusion"], run.resolved.classes) if best else [],
        reasons=reasons_of(memory),
        command=command_of(run),
        figures={name: figure for name, figure in drawn.items() if figure},
        data=_script(drawn),
        plotly=_plotly(),
        run=run,
    )


def _script(value: Any) -> str:
    """JSON that may stand in a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026"))


def _plotly() -> str:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs().replace("</script", "<\\/script"))


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
