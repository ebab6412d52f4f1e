"""comparison.html: what it says of each run, and what it refuses to compare."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from scipy import stats

from nas.report.page.comparison import write_comparison
from nas.run.folder import open_run
from search_spaces.errors import InputError

EXAMPLE = Path(__file__).resolve().parents[2] / "runs" / "example"


@pytest.fixture
def two(tmp_path):
    """Two copies of the example run; the second one's run.yaml can be changed: section, key, value."""
    first, second = (Path(shutil.copytree(EXAMPLE, tmp_path / name)) for name in ("first", "second"))

    def change(section, key, value):
        data = yaml.safe_load((second / "run.yaml").read_text())
        data[section][key] = value
        (second / "run.yaml").write_text(yaml.safe_dump(data))
        return first, second

    return change


@pytest.fixture
def as_written(monkeypatch):
    """Takes the results from the runs' result.json, which spares the bootstraps in them."""
    monkeypatch.setattr("nas.report.page.compared.result", _written)


def _written(run):
    return json.loads((run.path / "result.json").read_text())


def _data(page):
    return json.loads(re.search(r"^const figures = (.*);$", Path(page).read_text(), re.MULTILINE)[1])


def test_it_says_where_the_runs_differ_and_what_each_found(two, nas_anywhere, tmp_path):
    first, second = two("config", "latency_budget_ms", 6.5)
    code, out, err = nas_anywhere("report", first, second, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["settings"] == {"--latency-budget": ["20ms", "6.5ms"]} and found["remarks"] == []
    assert found["page"] == str(tmp_path / "comparison.html")
    text = Path(found["page"]).read_text()
    body = text.partition("<script>")[0]
    for path, row in zip((first, second), found["runs"], strict=True):
        known = _written(open_run(path))
        best, rival = known["best"], max((a for a in known["anchors"] if a["fits"]), key=lambda a: a["test_accuracy"])
        assert row["best"]["id"] == best["id"] and row["hand_designed"]["id"] == rival["id"]
        assert f"{best['test_accuracy']:.2%}" in body and f"{best['p50_ms']:.2f}" in body
        lead, error = row["lead"]
        assert f"{100 * lead:.2f} ± {100 * error:.2f} points" in known["verdict"]
        right = [round(5000 * entry["test_accuracy"]) for entry in (best, rival)]
        unpooled = sum(stats.binom(5000, n / 5000).var() for n in right) ** 0.5 / 5000
        assert error == pytest.approx(unpooled, rel=1e-6)
    assert found["runs"][0]["ahead"] is None and found["runs"][1]["ahead"][0] == 0
    traces = {trace["name"]: trace for trace in _data(found["page"])["fronts"]["data"]}
    measured = {e["p50_ms"] for e in (*known["anchors"], *known["finalists"])}
    assert {x for kind in ("found", "hand-designed") for x in traces[f"second: {kind}"]["x"]} == measured
    assert traces["second: front"]["y"] == sorted(traces["second: front"]["y"])


@pytest.mark.parametrize(
    ("section", "key", "value", "why"),
    [
        ("config", "metric", "macro_f1", "accuracy is top1 there and macro_f1 here"),
        ("resolved", "classes", list("abcdefghij"), "the classes differ"),
        ("resolved", "fingerprint", {"classes": 10, "test": 4000, "sha256": "0"}, "test images differ: 5000 there, 4000 here"),
        ("resolved", "fingerprint", {"classes": 10, "test": 5000, "sha256": "0"}, "the images, or their split, differ"),
    ],
)
def test_accuracies_of_other_meaning_are_refused(two, nas_anywhere, section, key, value, why):
    first, second = two(section, key, value)
    code, _, err = nas_anywhere("report", first, second)
    assert code == 2 and f"{second} cannot be compared with {first}: " in err and why in err and err.count("\n") == 1
    assert not (first.parent / "comparison.html").exists()


def test_a_run_is_not_compared_with_itself(two):
    first, _ = two("config", "seed", 1)
    with pytest.raises(InputError, match="given more than once"):
        write_comparison([first, first.parent / "second" / ".." / "first"])


def test_other_devices_and_precisions_are_said(two, as_written, tmp_path):
    first, second = two("resolved", "precision", "int8")
    (second / "result.json").write_text((second / "result.json").read_text().replace('"float32"', '"int8"'))
    profile = json.loads((second / "device.json").read_text())
    profile["device"]["cpu"] = "another processor"
    (second / "device.json").write_text(json.dumps(profile))
    found = write_comparison([first, second], tmp_path / "page.html")
    assert any("different devices" in remark for remark in found["remarks"])
    assert any("float32 in first, int8 in second" in remark for remark in found["remarks"])
    assert any("another processor" in value for value in found["settings"]["device"])
    assert _data(found["page"])["fronts"] is None  # milliseconds of two devices have no common axis


def test_runs_of_one_name_are_told_apart_by_their_folders(two, as_written, tmp_path):
    first, second = two("config", "seed", 1)
    other = Path(shutil.copytree(second, tmp_path / "elsewhere" / "first"))
    assert [row["run"] for row in write_comparison([first, other])["runs"]] == [str(first), str(other)]
