"""What a person names is printed as it is: in lines, tables, titles, bars; brackets are no markup, colons no emoji."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from nas.console import make_bar, make_console
from nas.progress import ConsoleProgress

NAMES = ["r[old]", "a [/b] c", "[bold]x[/bold]", "[link=x]y[/link]", ":smile:", "\\[x]", "[[", "[#ff0000]", "[@click=f]z"]


def shown(*things: object, terminal: bool = False) -> str:
    console = make_console()
    console.file, console._force_terminal = io.StringIO(), terminal
    for thing in things:
        console.print(thing, highlight=False)
    return console.file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_in_lines_and_tables(name):
    table = Table(title=name)
    table.add_column(name, footer=name)
    table.add_row(name)
    assert shown(name) == f"{name}\n" and shown(table).count(name) == 3


@given(st.text(st.sampled_from("[]/\\=:ab@#"), min_size=1, max_size=12))
def test_any_text_of_brackets_and_colons_is_shown_as_it_is(text):
    assert shown(text) == f"{text}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_shows_a_name_as_it_is(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    console = make_console()
    console.file, console._force_terminal = io.StringIO(), True
    with ConsoleProgress(console) as view:
        view.phase(name, 3)
        view.best(f"best {name}")
        view.say(name)
    with make_bar(console) as bar:
        bar.add_task(name, total=1)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert plain.count(name) >= 4 and f"best {name}" in plain


def test_every_console_and_bar_is_made_in_one_place():
    sources = [path for path in Path(make_console.__code__.co_filename).parent.rglob("*.py") if path.name != "console.py"]
    made = re.compile(r"\b(Console|rich\.progress\.Progress|TextColumn)\((?!\")|print as|from_markup|Text\.")
    assert not [str(path) for path in sources if re.search(r"rich", path.read_text()) and made.search(path.read_text())]
