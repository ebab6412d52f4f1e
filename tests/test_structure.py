"""The shape of the code: how long files, functions and import chains may be, and what is public."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nas
import nas.testing

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nas", "evaluators", "search_spaces")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CHAIN, LINES, FILE_LINES, POSITIONAL = 8, 40, 300, 5


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short_and_begin_with_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= FILE_LINES
    assert ast.get_docstring(tree)
    for function in functions(tree):
        assert function.end_lineno - function.lineno < LINES, function.name
        positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls", "ctx")]
        assert len(positional) <= POSITIONAL or is_command(function), (function.name, positional)


def is_command(function: ast.FunctionDef) -> bool:
    """Click passes all that a command takes by name."""
    return any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of `nas` that one imports, within functions too; imports for types alone are left out."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nas":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if path_of(name).exists() else str(node.module) for name in names}
    return frozenset(found - {module, "nas"})


def path_of(module: str) -> Path:
    folder = ROOT / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@cache
def chain(module: str) -> tuple[str, ...]:
    return max(((module, *chain(name)) for name in imported(module)), key=len, default=(module,))


def test_no_chain_of_imports_is_long():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]
    longest = max((chain(name) for name in modules if name.startswith("nas.") and name != "nas.__main__"), key=len)
    assert len(longest) <= CHAIN, longest


PUBLIC = {
    "ConsoleProgress": "(console: rich.console.Console) -> None",
    "Genotype": None,
    "InputError": None,
    "Latency": "(p50_ms: float | None, p90_ms: float | None, predicted_ms: float | None, bound_ms: float | None) -> None",
    "MeasureConfig": None,
    "Progress": None,
    "Run": "(folder: nas.run.folder.Run) -> None",
    "SearchConfig": None,
    "TrainConfig": None,
    "TrainedNetwork": None,
    "anchor": "(name: str) -> search_spaces.genotype.Genotype",
    "build": "(genotype: search_spaces.genotype.Genotype | str, classes: int = 1000) -> 'Network'",
    "cost": "(genotype: search_spaces.genotype.Genotype | str, classes: int = 1000) -> 'Cost'",
    "load_device": "(name: str = 'local') -> 'Profile'",
    "load_space": "(name: str) -> search_spaces.space.SearchSpace",
    "measure": "(config: nas.sessions.measure.MeasureConfig, progress: nas.progress.Progress | None = None) -> 'Profile'",
    "open_run": "(run: pathlib.Path | str) -> nas.api.Run",
    "predict": "(genotype: search_spaces.genotype.Genotype | str, device: str = 'local', space: str = 'mobile', "
    "classes: int = 1000) -> nas.api.Latency",
    "resume": "(run: pathlib.Path | str, workers: int | None = None, progress: nas.progress.Progress | None = None) "
    "-> nas.api.Run",
    "search": "(config: nas.run.config.SearchConfig, run: pathlib.Path | str | None = None, "
    "progress: nas.progress.Progress | None = None) -> nas.api.Run",
    "train": "(config: nas.training.config.TrainConfig, folder: pathlib.Path | str | None = None, "
    "progress: nas.progress.Progress | None = None) -> dict[str, typing.Any]",
}


SUITES = {
    "check_anchor": "(name: str) -> None",
    "check_block": "(kind: str) -> None",
    "check_dataset": "(spec: str) -> None",
    "check_runtime": "(runtime: str) -> None",
    "check_sampler": "(sampler: str) -> None",
    "check_score": "(score: str) -> None",
    "check_space": "(space: str) -> None",
}


@pytest.mark.parametrize(("package", "public"), [(nas, PUBLIC), (nas.testing, SUITES)])
def test_public_names_and_signatures_stay(package, public):
    assert sorted(package.__all__) == sorted(public) == dir(package)
    for name, signature in public.items():
        assert getattr(package, name).__doc__
        if signature:
            assert str(inspect.signature(getattr(package, name))) == signature, name
