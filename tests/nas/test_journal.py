"""The journal: what is written can be read, a cut-off record is dropped, a damaged one is named."""

import json
import os
import resource
import signal
import subprocess
import sys

import optuna
import pytest

from nas.journal import Journal
from search_spaces.errors import InputError


def _records(n: int) -> list[dict[str, object]]:
    return [{"op_code": 2, "worker_id": "w", "number": i} for i in range(n)]


def test_reads_what_was_written(tmp_path):
    Journal(tmp_path / "j").append_logs(_records(5))
    assert Journal(tmp_path / "j").read_logs(2) == _records(5)[2:]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_record_cut_off_while_written_is_dropped_and_overwritten(tmp_path, cut):
    path = tmp_path / "j"
    Journal(path).append_logs(_records(3))
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert journal.read_logs(0) == _records(2)
    journal.append_logs(_records(1))
    assert Journal(path).read_logs(0) == _records(2) + _records(1)


@pytest.mark.parametrize("damage", ["not json", "[]", '{"no": "operation"}', "\x00\x00"])
def test_a_damaged_record_is_named_by_its_line(tmp_path, damage):
    path = tmp_path / "j"
    Journal(path).append_logs(_records(3))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], damage, lines[2]]) + "\n")
    with pytest.raises(InputError, match="line 2"):
        Journal(path)


def test_optuna_reads_the_file_with_its_own_backend(tmp_path):
    storage = optuna.storages.JournalStorage(Journal(tmp_path / "j"))
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    theirs = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "j")))
    assert [t.value for t in optuna.load_study(study_name="s", storage=theirs).trials] == [t.value for t in study.trials]


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path):
    path = tmp_path / "j"
    Journal(path).append_logs(_records(3))
    size = path.stat().st_size
    code = (
        "import sys, pathlib; from nas.journal import Journal; from search_spaces.errors import InputError\n"
        "try: Journal(pathlib.Path(sys.argv[1])).append_logs([{'op_code': 2, 'text': 'x' * 10000}])\n"
        "except InputError as error: print(error)"
    )

    def limit() -> None:  # a file-size limit stands in for a full disk: the kernel refuses to write further
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))

    done = subprocess.run([sys.executable, "-c", code, str(path)], preexec_fn=limit, capture_output=True, text=True)
    assert "cannot write" in done.stdout and "nas resume" in done.stdout, done.stderr
    assert Journal(path).read_logs(0) == _records(3)


def test_records_survive_sigkill(tmp_path):
    path = tmp_path / "j"
    code = (
        "import os, sys, pathlib, signal; from nas.journal import Journal\n"
        "Journal(pathlib.Path(sys.argv[1])).append_logs([{'op_code': 2, 'n': i} for i in range(100)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert len(Journal(path).read_logs(0)) == 100


def test_lines_are_plain_json(tmp_path):
    Journal(tmp_path / "j").append_logs(_records(2))
    assert [json.loads(line) for line in (tmp_path / "j").read_text().split(os.linesep) if line] == _records(2)
