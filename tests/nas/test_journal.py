"""The journal: what is written can be read, a cut-off record is dropped, whatever else is not as it was written is refused."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.weights import write_weights
from nas.run import journal
from nas.run.folder import open_run
from nas.run.journal import Journal
from nas.run.memory import read_journal
from search_spaces.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "runs" / "example"


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


def _interrupted(instruction: int, call) -> bool:
    """Whether Ctrl-C at this instruction of the journal's own code, counted from 0, came before the call returned."""
    left = instruction

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != journal.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_append_that_ctrl_c_interrupts_wherever_leaves_a_journal_that_goes_on(tmp_path):
    first, cut, after = _records(2), [{"op_code": 4, "n": "cut" * 20}], [{"op_code": 4, "n": "after"}]
    for instruction in range(1000):
        path = tmp_path / f"{instruction}.log"
        writer = Journal(path)
        writer.append_logs(first)
        interrupted = _interrupted(instruction, lambda writer=writer: writer.append_logs(cut))
        now = writer.read_logs(0)
        assert now in ([*first], [*first, *cut])
        writer.append_logs(after)
        assert Journal(path).read_logs(0) == writer.read_logs(0) == [*now, *after]
        if not interrupted:
            break
    assert not interrupted and instruction > 50


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
        "import sys, pathlib; from nas.run.journal import Journal; from search_spaces.errors import InputError\n"
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
        "import os, sys, pathlib, signal; from nas.run.journal import Journal\n"
        "Journal(pathlib.Path(sys.argv[1])).append_logs([{'op_code': 2, 'n': i} for i in range(100)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert len(Journal(path).read_logs(0)) == 100


def test_lines_are_plain_json(tmp_path):
    Journal(tmp_path / "j").append_logs(_records(2))
    lines = [json.loads(line) for line in (tmp_path / "j").read_text().split(os.linesep) if line]
    assert [{k: v for k, v in line.items() if k != "crc32"} for line in lines] == _records(2)


# --- damage ---


def test_the_checksum_is_that_of_zip_over_all_records_so_far(tmp_path):
    Journal(tmp_path / "j").append_logs(_records(3))
    bare = b"".join(json.dumps(record, separators=(",", ":")).encode() for record in _records(3))
    assert json.loads((tmp_path / "j").read_text().splitlines()[-1])["crc32"] == f"{zlib.crc32(bare):08x}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A journal of four records, in two sessions."""
    path = tmp_path_factory.mktemp("whole") / "j"
    Journal(path).append_logs(_records(2))
    Journal(path).append_logs(_records(2))
    return path


def test_every_flipped_bit_is_noticed(whole):
    data, path = whole.read_bytes(), whole.with_name("flipped")
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"line [1-4]: damaged"):
            Journal(path, writable=False)


@pytest.mark.parametrize("change", ["dropped", "doubled", "swapped"])
@pytest.mark.parametrize("number", range(3))
def test_a_line_that_is_not_where_it_was_is_noticed(whole, number, change):
    lines, path = whole.read_bytes().splitlines(keepends=True), whole.with_name("changed")
    lines[number : number + 2] = {
        "dropped": lines[number + 1 : number + 2],
        "doubled": [lines[number], lines[number], lines[number + 1]],
        "swapped": [lines[number + 1], lines[number]],
    }[change]
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=f"line {number + 1 + (change == 'doubled')}: damaged"):
        Journal(path)
    assert path.read_bytes() == b"".join(lines), "it is not written to"


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "empty"), (b"\0" * 5000, "zeros"), (b'{"op_code"', "no complete record"), (b"\0\n\0\n", "line 1")],
)
@pytest.mark.parametrize("writable", [True, False])
def test_a_journal_without_a_record_is_refused_and_not_begun_anew(tmp_path, content, why, writable):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(InputError, match=why):
        Journal(tmp_path / "j", writable)
    assert (tmp_path / "j").read_bytes() == content


def test_zeros_after_the_last_record_are_what_was_not_written_before_the_power_was_cut(whole):
    path = whole.with_name("zeros")
    path.write_bytes(whole.read_bytes() + b"\0" * 300)
    Journal(path).append_logs(_records(1))
    assert Journal(path).read_logs(0) == _records(2) + _records(2) + _records(1)


@pytest.mark.parametrize("damage", ["missing", "empty", "zeros"])
@pytest.mark.parametrize("command", ["status", "resume", "show", "best", "export"])
def test_a_run_whose_journal_is_gone_is_refused_by_all_commands(tmp_path, nas_anywhere, damage, command):
    run = tmp_path / "run"
    shutil.copytree(EXAMPLE, run)
    (run / "weights").mkdir()
    if damage == "missing":
        (run / "journal.log").unlink()
    else:
        (run / "journal.log").write_bytes(b"\0" * (4096 if damage == "zeros" else 0))
    before = sorted(path.name for path in run.iterdir())
    code, _, err = nas_anywhere(command, run)
    assert code == 2 and "journal.log" in err and err.startswith("nas: ") and err.count("\n") == 1
    assert before == [name for name in sorted(path.name for path in run.iterdir()) if name != ".lock"]


def test_a_new_run_has_begun_its_journal(made_run):
    run = made_run(objectives=("accuracy", "latency"))
    assert read_journal(open_run(run.path).journal).trials == []
    [study] = optuna.storages.JournalStorage(Journal(run.journal)).get_all_studies()
    assert (study.study_name, [d.name for d in study.directions]) == ("nas", ["MAXIMIZE", "MINIMIZE"])


def test_what_was_learnt_is_on_the_disk_before_the_journal_says_so(tmp_path, monkeypatch):
    """What the disk has at each moment is what was there when it was last asked to keep a file."""
    kept: dict[int, bytes] = {}
    fsync = os.fsync

    def keeping(file):
        if Path(f"/proc/self/fd/{file}").resolve().is_file():
            kept[os.fstat(file).st_ino] = Path(f"/proc/self/fd/{file}").resolve().read_bytes()
        fsync(file)

    monkeypatch.setattr(os, "fsync", keeping)
    write_weights(b"weights", tmp_path / "w.safetensors")
    assert kept[(tmp_path / "w.safetensors").stat().st_ino] == b"weights"
    storage = optuna.storages.JournalStorage(Journal(tmp_path / "j"))
    study = optuna.create_study(storage=storage, study_name="s")
    for learn in (
        lambda: study.set_user_attr("final:x", {"accuracy": 0.5}),
        lambda: study.ask().suggest_int("x", 0, 9),
        lambda: storage.set_trial_intermediate_value(0, 1, 0.5),
        lambda: study.tell(0, 0.5),
    ):
        learn()
        lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
        asked = b'"param_name"' in lines[-1]
        assert kept[(tmp_path / "j").stat().st_ino] == b"".join(lines[:-1] if asked else lines)


# --- records that are whole and make no sense ---


def _sealed(path: Path, bodies: list[bytes]) -> None:
    crc, lines = 0, []
    for body in bodies:
        crc = zlib.crc32(body, crc)
        lines.append(b'%b,"crc32":"%08x"}\n' % (body[:-1], crc))
    path.write_bytes(b"".join(lines))


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A copy of the example's run folder, and the records of its journal."""
    run = tmp_path_factory.mktemp("example") / "run"
    shutil.copytree(EXAMPLE, run)
    return run, Journal(run / "journal.log", writable=False).read_logs(0)


def _everything(run: Path) -> None:
    """All that is told of a run."""
    from nas.report.front import best
    from nas.report.result import points
    from nas.report.status import status

    opened = open_run(run)
    for tell in (lambda: status(run), lambda: best(run, None), lambda: points(opened)):
        try:
            tell()
        except InputError as error:
            assert "\n" not in str(error)


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _changed(record, draw):
    """A record with one thing at some depth put in another's place, or left out."""
    at = record
    while True:
        key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
        if not (isinstance(at[key], dict | list) and at[key]) or draw(st.booleans()):
            break
        at = at[key]
    if isinstance(at, dict) and draw(st.booleans()):
        del at[key]
    else:
        at[key] = draw(STRANGE)
    return record


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_record_that_makes_no_sense_is_one_message(example, data):
    run, records = example
    number = data.draw(st.integers(0, len(records) - 1))
    changed = _changed(json.loads(json.dumps(records[number])), data.draw)
    bodies = [*records[:number], changed, *records[number + 1 :]]
    _sealed(run / "journal.log", [json.dumps(body, separators=(",", ":")).encode() for body in bodies])
    _everything(run)


@pytest.mark.parametrize(
    "body",
    [
        b'{"op_code":0,"worker_id":"w","deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"op_code":0,"worker_id":"w","study_name":"nas","directions":[' + b"9" * 5000 + b"]}",
        b'{"op_code":99,"worker_id":"w"}',
        b'{"op_code":1,"worker_id":"w","study_id":0}',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"final:x":{"accuracy":0.5},"b":1}}',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"final:x":{"accuracy":0.5}}}',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"measured:x":[]}}',
        b"{}",
    ],
)
def test_records_that_no_search_writes_are_one_message(tmp_path, body):
    begun = b'{"op_code":0,"worker_id":"w","study_name":"nas","directions":[2]}'
    _sealed(tmp_path / "j", [begun, body])
    with pytest.raises(InputError, match="damaged"):
        read_journal(tmp_path / "j")
