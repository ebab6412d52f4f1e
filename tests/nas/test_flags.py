"""Flags: none is overridden in silence, and no value of one ends in a traceback or begins what was not asked for."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from nas.cli import cli

SEARCH = ("search", "--latency-budget", "20ms", "--from-scratch", "--data", "imagefolder:none", "--no-measure")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def refused(*arguments: object) -> str:
    """What a command says that must be refused before anything is made."""
    before = set(Path().rglob("*"))
    ended = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    assert isinstance(ended.exception, Exception) and set(Path().rglob("*")) == before
    kind = type(ended.exception).__mro__
    assert any(known.__name__ in ("ClickException", "InputError") for known in kind), repr(ended.exception)
    return str(getattr(ended.exception, "message", ended.exception))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SEARCH, "--evaluator", "supernet", "--epochs", 7], "--epochs has no effect here: a supernet scores candidates"),
        ([*SEARCH, "--supernet-epochs", 7], "--supernet-epochs has no effect here: candidates are trained one by one"),
        (["train", "mobilenet_v2", "--space", "tiny"], "--space has no effect here: mobilenet_v2 names its input"),
        (["train", "net.txt", "--space", "tiny"], "--space has no effect here: net.txt names its input"),
        (["export", "mobilenet_v2", "--weights", "w.pth", "--network", "x"], "--network has no effect here"),
        (["anchors", "--check", "--device", "other"], "--device has no effect here"),
        (["resume", "trained", "--workers", 2], "--workers has no effect here: trained is a training of one network"),
    ],
)
def test_a_flag_without_effect_is_refused(arguments, message):
    Path("net.txt").write_text("input 3x16x16\nconv 8/1\nhead\n")
    Path("trained").mkdir()
    Path("trained/train.yaml").write_text("")
    assert message in refused(*arguments)
