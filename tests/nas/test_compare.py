"""Where the milliseconds go: `nas show` by kernel class, with a plot and measured, and `nas compare`."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from evaluators.latency.device.locks import WAITING, measuring
from search_spaces.anchor import anchor

FIRST = "conv 16/1\nshuffle 24/2\nhead\n"
SECOND = "conv 8/1\ninverted_residual 16/2 expand=4\ninverted_residual 16/1\nhead\n"


@pytest.fixture(autouse=True)
def texts(tmp_path):
    (tmp_path / "first.txt").write_text(FIRST)
    (tmp_path / "second.txt").write_text(SECOND)


@pytest.fixture
def small(workshop):
    return ["--space", workshop / "small.yaml", "--classes", "3"]


@pytest.fixture
def foreign(workshop, tmp_path):
    """A profile of another machine, in a file."""
    [profile] = (workshop / "data" / "compact-nas" / "devices").glob("*.json")
    data = json.loads(profile.read_text())
    data["device"]["cpu"] = "Another processor"
    (tmp_path / "board.json").write_text(json.dumps(data))
    return tmp_path / "board.json"


def _table(out):
    """Rows of a printed table by their first cell."""
    rows = [[cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in out.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def test_show_tells_the_milliseconds_by_kernel_class_and_draws_bars(nas_here, small):
    code, out, err = nas_here("show", "first.txt", *small)
    assert code == 0, err
    table = _table(out)
    assert "By kernel class" in out and "network" in table
    classes = {k: cells for k, cells in table.items() if len(cells) == 2 and cells[1].endswith("%")}
    assert sum(float(cells[1].rstrip("%")) for cells in classes.values()) == pytest.approx(100, abs=0.1 * len(classes))
    bars = [line for line in out.splitlines() if "█" in line or "▏" in line]
    assert len(bars) == 3 and bars[1].startswith("2 shuffle 24/2") and max(b.count("█") for b in bars) == 40


@pytest.mark.parametrize("measure", [[], ["--measure"]], ids=["predicted", "measured"])
def test_show_writes_a_plot(nas_here, small, tmp_path, measure):
    code, out, err = nas_here("show", "second.txt", *small, *measure, "--plot", "bars.png")
    assert code == 0, err
    with Image.open(tmp_path / "bars.png") as image:
        assert image.size[0] > 500
    assert ("profiled ms" in out and "Measured p50" in out) == bool(measure)
    assert nas_here("show", "second.txt", *small, "--plot", "bars.svg")[0] == 0
    assert "inverted_residual" in (tmp_path / "bars.svg").read_text()


def test_two_networks_side_by_side(nas_here, small):
    code, out, err = nas_here("compare", "first.txt", "second.txt", *small)
    assert code == 0, err
    table = _table(out)
    assert table["blocks"] == ["3", "4", "1.33"]
    for row in ("params", "MACs M", "weights KB, int8", "peak memory KB, float32", "predicted ms", "upper bound ms", "network"):
        assert len(table[row]) == 3 and "-" not in table[row][:2], row
    by_class = [cells for name, cells in table.items() if name not in ("blocks", "params") and cells[0].count(".") == 1]
    assert len(by_class) > 5
    assert float(table["upper bound ms"][0]) >= float(table["predicted ms"][0])


def test_both_are_measured_in_turns(nas_here, small):
    code, out, err = nas_here("compare", "first.txt", "second.txt", *small, "--measure")
    assert code == 0, err
    table = _table(out)
    for percentile in ("p50", "p90"):
        assert all(float(cell) > 0 for cell in table[f"measured {percentile} ms"])
    assert "first.txt: Measured p50" in out and "second.txt: Measured p50" in out


def test_anchors_can_be_compared_where_nothing_is_predicted(nas_here):
    code, out, err = nas_here("compare", "mobilenet_v2", "mobilenet_v3:small")
    assert code == 0, err
    assert _table(out)["params"][0] == "3,504,872" and _table(out)["predicted ms"] == ["-", "-", "-"]
    assert "mobilenet_v2: no predicted latency" in out and "nas device measure --space mobile" in out


@pytest.mark.parametrize("asked", [["mobilenet_v2@96x160"], ["mobilenet_v2", "--input", "96x160"]])
def test_a_network_is_shown_at_another_input(nas_here, asked):
    """15 of the 49 cells of 224x224 at stride 32: all MACs but the classifier's go with the map."""
    code, out, err = nas_here("show", *asked)
    assert code == 0, err
    total = next(line for line in out.splitlines() if "total (" in line)
    known = anchor("mobilenet_v2")
    macs = (known.macs - 1280 * 1000) * 15 / 49 + 1280 * 1000
    assert known.genotype.at((3, 96, 160)).id in total and "3x96x160" in total
    assert f"{known.params:,}" in total and f"{macs / 1e6:.1f}" in total


def test_a_network_is_compared_with_itself_at_another_input(nas_here, small):
    code, out, err = nas_here("compare", "mobilenet_v2@160", "mobilenet_v2")
    assert code == 0, err
    table = _table(out)
    assert table["params"][2] == "1.00" and 1.9 < float(table["MACs M"][2]) < 2.0
    assert "Input 3x160x160 and 3x224x224" in out
    code, out, err = nas_here("compare", "first.txt", "second.txt", *small, "--input", "32")
    assert code == 0 and "Input 3x32x32;" in out, err
    assert "first.txt: no predicted latency: " in out and "measured at input 3x16x16, not 3x32x32" in out


def test_a_device_elsewhere_predicts_and_does_not_measure(nas_here, small, foreign):
    code, out, err = nas_here("show", "first.txt", *small, "--device", foreign)
    assert code == 0 and "By kernel class" in out, err
    assert nas_here("compare", "first.txt", "second.txt", *small, "--device", foreign)[0] == 0
    for arguments in (["show", "first.txt"], ["compare", "first.txt", "second.txt"]):
        code, _, err = nas_here(*arguments, *small, "--device", foreign, "--measure")
        assert code == 2 and "is not this machine" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "mobilenet_v2", "mobilenet_v22"], 'did you mean "mobilenet_v2"'),
        (["compare", "mobilenet_v2"], "SECOND"),
        (["show", "mobilenet_v2", "--plot", "bars.jpg"], ".png or .svg"),
        (["show", "mobilenet_v2", "--plot", "bars.png"], "--plot shows predicted latency"),
        (["compare", "mobilenet_v2", "fe_net", "--device", "pixel"], 'there is no device "pixel"'),
        (["show", "mobilenet_v2@"], 'size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not ""'),
        (["compare", "mobilenet_v2@x96", "fe_net"], 'such as 224 or 96x160, not "x96"'),
        (["show", "mobilenet_v22@96"], 'did you mean "mobilenet_v2"'),
        (["show", "mobilenet_v2", "--input", "3x96x96"], 'such as 224 or 96x160, not "3x96x96"'),
        (["show", "first.txt", "--input", "4"], "8 to 4096 pixels high and wide, not 4x4"),
    ],
)
def test_what_is_refused(nas_here, arguments, message):
    code, _, err = nas_here(*arguments)
    assert code == 2 and message in err and "Traceback" not in err


def test_it_measures_while_no_other_process_does(tmp_path):
    command = [sys.executable, "-m", "nas", "show", str(tmp_path / "first.txt"), "--space", "tiny", "--measure"]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    with measuring(lambda: None):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout and process.stdout.readline() == f"{WAITING}\n"
    out, _ = process.communicate()
    assert process.returncode == 0 and "Measured p50" in out
