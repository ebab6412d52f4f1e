"""The documents: references, links, commands and figures are those of the code, and the notebook runs."""

import importlib.metadata
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import nbformat
import pytest
import yaml
from click.testing import CliRunner
from markdown_it import MarkdownIt
from nbclient import NotebookClient

from nas.commands.main import cli

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "docs" / "commands.md"  # its usages are patterns, not commands
WRITTEN = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")} - {GENERATED}
)
SHELL = re.compile(r"(?:\$ )?((?:nas|python3?|pip|git|cp|mkdocs|\./check)\b.*)")
WHERE = yaml.safe_load((ROOT / "tests" / "data" / "commands.yaml").read_text(encoding="utf-8"))
CLAIMS = ROOT / "docs" / "claims.md"


def make():
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(document: Path) -> Iterator[tuple[str, bool]]:
    """Lines of code blocks, and code within text: the text, and whether it is of a block."""
    for token in MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8")):
        if token.type in ("code_block", "fence"):
            yield from ((line, True) for line in token.content.splitlines())
        yield from ((child.content, False) for child in token.children or () if child.type == "code_inline")


def commands(document: Path, *, of_block: bool) -> list[str]:
    found = ((SHELL.fullmatch(text.strip()), block) for text, block in code(document))
    return [match[1].partition("  #")[0].rstrip() for match, block in found if match and block == of_block]


def parsed(command: str) -> None:
    """Parses a command of `nas` with click, which raises for what it does not know; a name alone is only looked up."""
    known, context, words = cli, click.Context(cli), shlex.split(command)[1:]
    while isinstance(known, click.Group) and words:
        name, known, words = known.resolve_command(context, words)
    if words:
        known.make_context(name, words, parent=context)


def flags(command: click.Command) -> set[str]:
    """The flags of a command, or of all commands of a group."""
    if isinstance(command, click.Group):
        return set().union(*(flags(command.get_command(None, name)) for name in command.list_commands(None)))
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("name", ["options.md", "commands.md", "api.md"])
def test_the_references_are_what_the_code_says(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == make().REFERENCES[name](), "python docs/make.py writes it"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.name)
def test_every_command_parses_and_every_flag_exists(document):
    for command in [*commands(document, of_block=True), *commands(document, of_block=False)]:
        if command.startswith("nas "):
            parsed(command)
    assert {text.split()[0] for text, _ in code(document) if text.startswith("--")} <= flags(cli)


def test_every_command_of_a_block_is_run_or_has_a_reason():
    assert {command for document in WRITTEN for command in commands(document, of_block=True)} == set(WHERE)
    for file, name in re.findall(r"(tests/\S+\.py)::(\w+)", " ".join(WHERE.values())):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


@pytest.mark.parametrize("command", [command for command, where in WHERE.items() if where == "here"])
def test_commands_about_the_example_run(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
    assert done.exit_code == 0 and "ms" in done.output


def test_figures_of_claims_stand_in_the_page_that_is_linked():
    rows = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| .*\(\.\./(benchmarks/\w+\.md)[^|]*\|$", CLAIMS.read_text(encoding="utf-8"), re.M
    )
    assert len(rows) > 20
    for figure, page in rows:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not [n for n in re.findall(r"[\d.,]*\d", figure) if not re.search(rf"(?<![\d.]){re.escape(n)}(?!\d)", text)], (
            figure
        )


def built(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(asked, cwd=root, capture_output=True, text=True)


def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path):
    done = built(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(WRITTEN)
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"([^\"]*)", page.read_text(encoding="utf-8"))
        assert not [url for url in loaded if re.match(r"(?:\w+:)?//", url)], page


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    for name in (
        "docs",
        "examples",
        "benchmarks",
        "runs/README.md",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "mkdocs.yml",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    links = {"docs/no.md": "README.md", "#no": "CONTRIBUTING.md", "../docs/data.md#no": "examples/photos.md"}
    links |= {"../docs/images/no.png": "docs/int8.md", "../benchmarks/int8.md#no": "docs/devices.md"}
    for link, document in links.items():
        with (tmp_path / document).open("a", encoding="utf-8") as file:
            file.write(f"\n![x]({link})\n" if link.endswith("png") else f"\n[x]({link})\n")
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert all(re.search(rf"'{document}'.*'{link}'", done.stderr) for link, document in links.items()), done.stderr


def test_the_notebook_runs_and_is_kept_without_outputs(tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    notebook = nbformat.read(ROOT / "examples" / "explore_a_run.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    NotebookClient(notebook, resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    said = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ()))
    assert "mobilenet_v2: " in said
    assert any("image/png" in out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", ()))


def test_the_version_is_the_newest_of_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    newest = re.search(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest and newest[1] == version
    assert importlib.metadata.version("compact-nas") == version, "installed before the version changed: pip install again"
    assert CliRunner().invoke(cli, ["--version"]).output == f"nas, version {version}\n"
