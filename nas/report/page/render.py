"""Fills the templates of the pages, and writes them; a page is one file that needs no network access."""

import json
from pathlib import Path
from typing import Any

from nas.report.page.figures import Figure
from search_spaces.errors import InputError, os_reason


def rendered(template: str, figures: dict[str, Figure | None], *, version: str | None = None, **facts: Any) -> str:
    """The page of a template of this folder, with `figures` by the id of their place, left out if None, and its `facts`.

    With a `version`, the page is for a server: it loads itself again when that answers /version otherwise.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(__package__, "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda value: "–" if value is None else f"{value:.2%}", "number": _number}
    drawn = {name: figure for name, figure in figures.items() if figure}
    own = {"figures": drawn, "data": _script(figures), "plotly": _plotly(), "version": version and _script(version)}
    return environment.get_template(template).render(**own, **facts)


def write(path: Path, text: str, command: str) -> Path:
    """Write a page and return its path; raises InputError, with the `command` that writes it again, if that fails."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {os_reason(error)}; `{command}` writes it again") from None
    return path


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
