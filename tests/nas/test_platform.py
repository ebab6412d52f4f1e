"""Where the command line runs: on Windows it says at once that it does not."""

import pytest

from nas.commands.main import main


def test_windows_is_told_what_is_supported(monkeypatch, capsys):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and "Linux and macOS" in err and len(err.splitlines()) == 1
