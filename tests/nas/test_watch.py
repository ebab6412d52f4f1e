"""`nas watch`: the report on the loopback, which follows the run and ends with Ctrl-C."""

import http.client
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from killed import interruptible, started

from nas.report import watch
from nas.report.page.write import page
from nas.run.folder import open_run
from nas.run.journal import MAIN, Journal, storage_of

EXAMPLE = Path(__file__).resolve().parents[2] / "runs" / "example"


def _get(port, path, host="127.0.0.1"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_it_follows_a_run_and_ends_with_ctrl_c(made_run):
    run = made_run()
    process = started(["watch", run.path], run.path.parent, prepare=interruptible, stdout=subprocess.PIPE)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
    try:
        status, before = _get(port, "/")
        assert status == 200 and "This run is not finished" in before
        version = _get(port, "/version")
        assert version == (200, re.search(r'^const version = "(.*)";$', before, re.MULTILINE)[1])
        storage = storage_of(Journal(run.journal))
        study = storage.get_study_id_from_name(MAIN)
        storage.set_study_user_attr(study, "finished:run", {"at": "2026-01-01T00:00:00+00:00"})
        assert _get(port, "/version") != version
        assert "This run is not finished" not in _get(port, "/")[1]
        assert _get(port, "/run.yaml")[0] == 404 and _get(port, "/", "example.org")[0] == 403
        assert not (run.path / "report.html").exists()
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130 and err.strip() == "nas: stopped"


def test_the_page_is_made_once_for_each_state_of_the_journal(tmp_path, monkeypatch):
    path, made = Path(shutil.copytree(EXAMPLE, tmp_path / "run")), []
    monkeypatch.setattr(watch, "page", lambda run, version: made.append(version) or version)
    report = watch._Report(path)
    assert report.page() == report.page() == report.version.encode() and len(made) == 1


def test_only_a_served_page_asks_whether_it_is_still_the_latest(made_run):
    run = made_run()
    assert "connect-src" not in page(run) and "fetch(" not in page(run).rpartition("<script>")[2]
    served = page(run, version="1")
    assert "connect-src" in served and "fetch(" in served.rpartition("<script>")[2]


def test_what_is_wrong_is_one_message(made_run, nas_anywhere):
    run = open_run(made_run().path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = nas_anywhere("watch", run.path, "--port", taken.getsockname()[1])
    assert code == 2 and "choose another --port" in err and err.count("\n") == 1
    code, _, err = nas_anywhere("watch", "nowhere")
    assert code == 2 and "nowhere is not a run folder" in err and err.count("\n") == 1
