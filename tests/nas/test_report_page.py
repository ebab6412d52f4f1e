"""report.html: says what the result says, runs in a browser without network access, and is written at any time."""

import io
import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from made_up_search import Executor, Predictor, Timer, View
from rich.console import Console
from sklearn.metrics import precision_recall_fscore_support

from evaluators.data import load
from nas.commands.search import command as search_command
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.records import Measured
from nas.report import table
from nas.report.page.comparison import write_comparison
from nas.report.page.facts import by_class, command_of, rows_of_blocks
from nas.report.page.genes import genes
from nas.report.page.write import page, write_page
from nas.report.result import result
from nas.run.folder import open_run
from nas.run.importance import gene_importances
from nas.run.memory import read_journal

EXAMPLE = Path(__file__).resolve().parents[2] / "runs" / "example"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def finished(made_run):
    """A run with made-up trainings and timings, and real tests."""
    run = made_run(trials=4, sampler="random")
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    return run


@pytest.fixture
def example(tmp_path):
    """The example run, in a folder of its own."""
    return open_run(Path(shutil.copytree(EXAMPLE, tmp_path / "mobile-20ms")))


def _data(text):
    return json.loads(re.search(r"^const figures = (.*);$", text, re.MULTILINE)[1])


def test_the_page_says_what_the_result_says(finished):
    found, text = result(finished), page(finished)
    body = text.partition("<script>")[0]
    assert found["best"]["id"] in body and "not finished" not in body
    for entry in (*found["anchors"], *found["finalists"]):
        assert (entry["anchor"] or entry["id"]).partition("@")[0] in body
        if entry["test_accuracy"] is not None:
            assert f"{entry['test_accuracy']:.2%}" in body
    data = _data(text)
    assert data["front"]["budget"] == found["budget_ms"]
    shown = {n["ms"] for n in data["front"]["networks"]}
    assert shown == {
        e["p50_ms"] or e["predicted_ms"] for e in (*found["anchors"], *found["finalists"]) if e["validation_accuracy"]
    }
    test = load(finished.config.data, inputs=[(3, 16, 16)]).test
    assert sum(map(sum, data["confusion"]["data"][0]["z"])) == len(test)
    wrong = len(test) - np.trace(data["confusion"]["data"][0]["z"])
    mistakes = found["best"]["mistakes"]
    assert len(mistakes) == min(wrong, 12) == body.count('<img src="data:image/jpeg;base64,')
    names = finished.resolved.classes
    for index, predicted, confidence in mistakes:
        assert test.labels[index] != predicted and f"{names[test.labels[index]]}, named {names[predicted]}" in body
        assert 1 / len(names) <= confidence <= 1


def test_a_run_without_results_has_a_page(made_run):
    text = page(made_run())
    assert "This run is not finished" in text and "No network has been retrained" in text
    assert all(figure is None for figure in _data(text).values())


def test_nothing_is_fetched_and_names_cannot_be_markup(example, monkeypatch):
    path = write_page(example)
    text = path.read_text()
    assert path.stat().st_size < 6e6
    page_alone = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:)', page_alone) and "default-src 'none'" in page_alone
    hostile = "</script><script>alert(1)</script><b>"
    monkeypatch.setattr("nas.report.page.write.result", lambda *of: {**result(*of), "data": hostile, "verdict": hostile})
    assert hostile not in page(example)


def test_precision_and_recall_are_scikit_learns():
    confusion = [[5, 1, 0], [2, 7, 1], [0, 0, 0]]
    labels = [i for i, row in enumerate(confusion) for count in row for _ in range(count)]
    predicted = [j for row in confusion for j, count in enumerate(row) for _ in range(count)]
    precision, recall, _, support = precision_recall_fscore_support(labels, predicted, labels=range(3), zero_division=0)
    rows = by_class(confusion, ["a", "b", "c"])
    assert [row.precision or 0 for row in rows] == pytest.approx(precision)
    assert [row.recall or 0 for row in rows] == pytest.approx(recall)
    assert [row.support for row in rows] == list(support) and rows[2].recall is None
    assert by_class([], []) == []


def test_the_command_repeats_the_search(finished):
    words = command_of(finished).split()
    assert words[:2] == ["nas", "search"]
    context = search_command.make_context("search", words[2:])
    for name, value in vars(finished.config).items():
        if name in context.params:
            assert context.params[name] == value, name


def test_it_is_written_at_any_time(finished, nas_here):
    code, out, err = nas_here("report", finished.path)
    assert code == 0 and out.strip() == str(finished.path / "report.html"), err
    (finished.path / "report.html").unlink()
    (finished.path / "report.html").mkdir()
    code, _, err = nas_here("report", finished.path)
    assert code == 2 and "cannot write" in err and "Traceback" not in err
    code, _, err = nas_here("report", "nowhere")
    assert code == 2 and "nowhere" in err


@contextmanager
def opened(path, width):
    """The page in a browser; at the end there was no error and no request but for itself."""
    sync_api = pytest.importorskip("playwright.sync_api")
    errors, requests = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(path.as_uri())
        yield view
        browser.close()
    assert not errors and [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt install chromium)")
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser_there_is_no_error_and_no_request_and_the_slider_and_hover_work(example, width):
    with opened(write_page(example), width) as view:
        view.wait_for_selector("#front .scatterlayer path.point")
        view.wait_for_selector("#genes path.path")
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        best = result(example)["best"]
        assert best["id"] in view.text_content("#winner") and "20.00 ms" in view.text_content("#budget-ms")
        view.fill("#budget", "0")
        assert "no retrained network" in view.text_content("#winner")
        view.locator("#front .scatterlayer path.point").last.hover(force=True)  # Plotly's own layer lies over the points
        view.wait_for_selector("#front .hoverlayer .hovertext")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt install chromium)")
def test_the_confusion_matrix_and_the_genes_are_drawn(finished):
    with opened(write_page(finished), 400) as view:
        view.wait_for_selector("#genes path.path")
        assert len(view.locator("#confusion .heatmap-label").all()) == 9
        assert view.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt install chromium)")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_comparison_shows_every_run_in_a_browser(example, tmp_path, width):
    other = shutil.copytree(EXAMPLE, tmp_path / "other")
    with opened(Path(write_comparison([example.path, other])["page"]), width) as view:
        view.wait_for_selector("#fronts .scatterlayer path.point")
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert [text.partition(":")[0] for text in view.locator("#fronts .legendtext").all_text_contents()] == [
            *["mobile-20ms"] * 3,
            *["other"] * 3,
        ]


@pytest.mark.parametrize(("precision", "columns"), [("float32", 100), ("float32", 80), ("int8", 100)])
def test_the_table_fits_a_terminal(precision, columns):
    found = json.loads((EXAMPLE / "result.json").read_text()) | {"precision": precision}
    if precision == "int8":
        more = {"float_test_by_seed": [0.9], "float_p50_ms": 9.87, "bytes": 3_900_000}
        found |= {"found": found["found"] | more, "best": found["best"] | more, "anchors": [e | more for e in found["anchors"]]}
    text = io.StringIO()
    console = Console(file=text, width=columns, soft_wrap=True, markup=False)
    console.print(table._networks(found))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    best = found["best"]
    row = " ".join(line for line in lines if "89.32" in line)
    assert f"{100 * best['test_accuracy']:.2f}" in row and f"{best['p50_ms']:.2f}" in row and "…" not in text.getvalue()


def test_the_importance_of_genes_is_shown_for_many_candidates(made_run, monkeypatch):
    run = made_run(trials=12, sampler="random")
    assert gene_importances(run.journal) is None
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    monkeypatch.setattr("nas.run.importance._FEWEST", 5)
    found, trials = gene_importances(run.journal)
    assert trials >= 5 and found and all(0 <= value <= 1 for value in found.values())
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert set(_data(page(run))["importances"]["data"][0]["y"]) <= set(found)


def test_the_winner_s_blocks_add_up_to_what_was_measured(finished):
    memory, best = read_journal(finished.journal), result(finished)["best"]
    rows = rows_of_blocks(finished, best, memory)
    [usual_ms] = [m.as_usual_ms for i, m in memory.records(Measured).items() if i == best["id"]]
    assert sum(row.measured_ms for row in rows) == pytest.approx(usual_ms)
    unmeasured = rows_of_blocks(finished, best | {"id": "another"}, memory)
    assert [row.measured_ms for row in unmeasured] == [None] * len(rows)


def test_the_genes_are_those_of_the_trained_candidates(finished):
    trained = [t for t in read_journal(finished.journal, genes=True).trials if t.genes and t.outcome in ("trained", "stopped")]
    *axes, last = _data(page(finished))["genes"]["data"][0]["dimensions"]
    assert last["values"] == [f"{100 * trial.accuracy:.1f}" for trial in trained]
    for axis in axes:
        assert axis["values"] == [str(trial.genes.get(axis["label"], "–")) for trial in trained]
        assert len(set(axis["values"])) > 1
    assert genes(trained[:1], None) is None
