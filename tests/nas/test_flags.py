"""Flags: none is overridden in silence, and no value of one ends in a traceback or begins what was not asked for."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nas.commands.main import cli, main

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


DIGITS = "9" * 400
WRONG = [
    ([*SEARCH, "--confidence", "nan"], "nan is not a number"),
    ([*SEARCH, "--confidence", "1.0"], "is not in the range"),
    ([*SEARCH, "--seed", "9" * 30], "is not in the range"),
    ([*SEARCH, "--seed", "9" * 5000], "not a valid integer"),
    ([*SEARCH, "--trials", "9" * 30], "is not in the range"),
    ([*SEARCH, "--workers", "9" * 30], "is not in the range"),
    ([*SEARCH, "--time", f"{DIGITS}h"], "is not a number with a unit"),
    ([*SEARCH, "--time", "99999h"], "99999h must be above 0 and at most eleven days"),
    ([*SEARCH, "--latency-budget", f"{DIGITS}ms"], "is not a number with a unit"),
    ([*SEARCH, "--latency-budget", "99999999999999s"], "must be above 0 and at most eleven days"),
    ([*SEARCH, "--latency-budget", "9" * 100_000], "is not a number with a unit"),
    ([*SEARCH, "--run", "~nouser/x"], "~nouser has no known home folder"),
    ([*SEARCH, "--run", ""], "must not be empty"),
    ([*SEARCH, "--space", ""], "must not be empty"),
    ([*SEARCH, "--anchor", "mobilenet_v2", "--anchor", ""], "must not be empty"),
    ([*SEARCH, "--address", ""], "must not be empty"),
    (["search", "--latency-budget", "2ms", "--weights", "~nouser/x"], "~nouser has no known home folder"),
    (["search", "--latency-budget", "2ms", "--weights", "mobilenet_v2=~nouser/x"], "~nouser has no known home folder"),
    ([*SEARCH, "--distill", "~nouser/x"], "~nouser has no known home folder"),
    ([*SEARCH, "--address", f"{'x' * 64}.net:6379"], "no Ray cluster answers"),
    (["device", "measure", "--runtime", ""], "must not be empty"),
    (["device", "bundle", "--runtime", ""], "must not be empty"),
    (["device", "measure", "--threads", "9" * 30], "is not in the range"),
    (["show", ""], "must not be empty"),
    (["show", "mobilenet_v2", "--classes", "9" * 30], "is not in the range"),
    (["compare", "mobilenet_v2", ""], "must not be empty"),
    (["anchors", ""], "must not be empty"),
    (["status", ""], "must not be empty"),
    (["best", "~nouser/x"], "~nouser has no known home folder"),
    (["export", "", "--to", "x"], "must not be empty"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(map(str, value))[:60])
def test_a_value_that_is_none_is_refused_before_anything_begins(arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize("home", ["~/x", "~root/x"])
def test_home_folders_are_known_in_every_path(home, monkeypatch):
    monkeypatch.setenv("HOME", str(Path("home").resolve()))
    assert str(Path(home).expanduser()) in refused("status", home)


@pytest.mark.parametrize("what", ["n" * 300, "folder/" + "n" * 300])
def test_a_path_that_the_system_refuses_is_one_message(what, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nas", "show", what])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("nas: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*SEARCH, "--evaluator", "supernet", "--epochs", 7],
            "--epochs has no effect here: candidates are scored by a supernet",
        ),
        (
            [*SEARCH, "--supernet-epochs", 7],
            "--supernet-epochs has no effect here: candidates are trained one by one, each for --epochs; "
            "--evaluator supernet shares weights",
        ),
        (["train", "mobilenet_v2", "--space", "tiny"], "--space has no effect here: mobilenet_v2 specifies its input"),
        (["train", "net.txt", "--space", "tiny"], "--space has no effect here: net.txt specifies its input"),
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
