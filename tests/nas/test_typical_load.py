"""Whatever is predicted for a person is of the machine under its typical load: `nas show`, `nas compare`, `nas anchors`."""

import json
import re
from pathlib import Path

import pytest

from nas.report import anchors, network
from nas.report import comparison as compare

STORED = Path(__file__).parents[1] / "data" / "profile_mobile.json"
SLOWER = 1.4**0.8  # what a network takes where the reference takes 1.4 times as long
NETWORK = "mobilenet_v2@224"


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """What a command prints of a profile that was measured on a machine quiet, or busy: numbers with a point, in order."""
    monkeypatch.setenv("COLUMNS", "250")
    data = json.loads(STORED.read_text())
    [known] = data["spaces"].values()

    def tell(command, contention):
        known["contention"] = contention
        (tmp_path / "board.json").write_text(json.dumps(data))
        command(str(tmp_path / "board.json"))
        return capsys.readouterr().out

    return tell


def numbers(text):
    return [float(found) for found in re.findall(r"\d+\.\d+", text)]


def test_show(told):
    quiet, busy = (told(lambda device: network.show(NETWORK, device, "mobile", None), c) for c in (0.0, 0.4))
    say = r"Predicted ([0-9.]+) ms, upper bound ([0-9.]+) ms, under typical load \(([0-9.]+) ms on a quiet machine\)"
    [before], [after] = (re.findall(say, out) for out in (quiet, busy))
    ms, bound_ms, quiet_ms = map(float, after)
    assert float(before[0]) == float(before[2]) == quiet_ms < ms < bound_ms
    assert ms == pytest.approx(SLOWER * float(before[0]), abs=0.02)
    assert bound_ms == pytest.approx(SLOWER * float(before[1]), abs=0.02)
    for name in ("total", "pointwise ", " 1 conv "):  # the table of blocks, that of classes, the bars
        assert _last_ms(busy, name) == pytest.approx(SLOWER * _last_ms(quiet, name), abs=0.01), name


def _last_ms(out, name):
    [line, *_] = [line for line in out.replace("│", " ").splitlines() if f"{name}" in f" {line}" and numbers(line)]
    found = [float(n) for n in re.findall(r"\d+\.\d+(?!%|\d)", line)]
    return found[-1]


def test_compare(told):
    quiet, busy = (
        told(lambda device: compare.compare((NETWORK, "mobilenet_v2@96"), device, "mobile", classes=None, measure=False), c)
        for c in (0.0, 0.4)
    )
    for row in ("predicted ms", "upper bound ms", " pointwise "):
        before, after = (numbers(next(line for line in out.splitlines() if row in line)) for out in (quiet, busy))
        assert after[:2] == pytest.approx([SLOWER * ms for ms in before[:2]], rel=0.01), row
        assert after[2] == pytest.approx(before[2], abs=0.01), "the ratio of both is what it was"
    assert "predicted under typical load" in busy


def test_anchors(told):
    quiet, busy = (told(lambda device: anchors.anchors(device, [NETWORK.partition("@")[0]]), c) for c in (0.0, 0.4))
    rows = [
        {line.split("│")[1].strip(): line.split("│")[6].strip() for line in out.splitlines() if line.count("│") > 6}
        for out in (quiet, busy)
    ]
    known = [name for name, ms in rows[0].items() if numbers(ms)]
    assert known and all(float(rows[1][n]) == pytest.approx(SLOWER * float(rows[0][n]), rel=0.01) for n in known)
    assert "typical load, 0% slower than on a quiet machine" in quiet and "31% slower" in busy
