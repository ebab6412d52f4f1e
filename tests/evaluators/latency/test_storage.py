"""What was measured is kept whole: cut off anywhere, written by several processes, and one process measures at a time."""

import json
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.latency.device.choose_networks import Chosen
from evaluators.latency.device.journal import Journal
from evaluators.latency.device.locks import measuring
from evaluators.latency.device.measure_profile import measure_profile
from evaluators.latency.device.profile_files import list_profiles, load_profile
from evaluators.latency.device.storage import add_line, whole_lines
from evaluators.latency.timing.measure import Sample
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

STORED = Path(__file__).parents[2] / "data" / "profile_mobile.json"
ADD_PROFILES = """
import sys
from dataclasses import replace
from evaluators.latency.kernels.lowering import LOWERING
from evaluators.latency.device.profile import Calibration, Device, MeasuredNetwork, Profile
from evaluators.latency.device.profile_files import save_profile
network = MeasuredNetwork("input 3x32x32\\nconv 16/2\\nhead\\n", 10, "fit", 1.0, 1.1, 1.2, 30, 0.01, {})
known = Calibration("tiny", ((3, 32, 32),), 0, "2026-01-01", 1.0, LOWERING, 0.3, 0.01, 0.1, 0.5, (network,))
print("ready", flush=True)
sys.stdin.readline()
for i in range(8):
    save_profile(Profile("board", Device("cpu", "rt", "1", 1, "float32"), "2026-01-01", {}, {f"{sys.argv[1]}{i}": known}))
"""
ADD_TIMES = """
import sys
from pathlib import Path
from evaluators.latency.timing.measure import Measurement
from evaluators.latency.device.stored_times import Times
from search_spaces.genotype import Genotype
from search_spaces.task import Task
print("ready", flush=True)
sys.stdin.readline()
times = Times(Path(sys.argv[2]), "today")
for i in range(8):
    genotype = Genotype.parse(f"conv {8 * (i + 1)}/{sys.argv[1]}\\nhead\\n")
    times.add(genotype, Task((3, 32, 32), 10), Measurement(1.0, 1.0, 1.0, 0.0, 9, 1.0, 0.01, 0.0))
"""
MEASURE = """
import sys, time
from evaluators.latency.device.locks import measuring
with measuring(lambda: print("waits", flush=True)):
    print("measures", flush=True)
    sys.stdin.readline()
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]", word: str = "") -> None:
    assert process.stdin
    process.stdin.write(word + "\n")
    process.stdin.flush()


def both(code: str, *arguments: object) -> None:
    """Runs it in two processes at the same time, which are 1 and 2."""
    processes = [started(code, number, *arguments) for number in (1, 2)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        told(process)
    assert [process.wait(60) for process in processes] == [0, 0]


def test_two_processes_that_add_calibrations_lose_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    both(ADD_PROFILES)
    [path] = (tmp_path / "compact-nas" / "devices").iterdir()
    assert set(json.loads(path.read_text())["spaces"]) == {f"{process}{i}" for process in (1, 2) for i in range(8)}


def test_two_processes_that_add_times_lose_none(tmp_path: Path) -> None:
    both(ADD_TIMES, tmp_path / "d.times.jsonl")
    header, *lines = [json.loads(line) for line in whole_lines(tmp_path / "d.times.jsonl")]
    assert header == {"calibrated": "today"} and len({line["genotype"] for line in lines}) == len(lines) == 16


def test_one_process_measures_at_a_time_and_the_other_says_that_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = started(MEASURE)
    assert first.stdout and first.stdout.readline() == "measures\n"
    second = started(MEASURE)
    assert second.stdout and second.stdout.readline() == "waits\n"
    first.kill()  # whatever ends it lets go of the lock
    assert second.stdout.readline() == "measures\n"
    told(second)
    assert second.wait(60) == 0


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"compact-nas-measuring\.lock: No such file .*TMPDIR"), measuring(lambda: None):
        pass


def test_without_a_home_profiles_can_be_named_and_measuring_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a user whom the system does not know
    assert list_profiles() == [] and load_profile(str(STORED), anywhere=True).spaces
    with pytest.raises(InputError, match=r"HOME is not set\); set XDG_DATA_HOME=FOLDER"):
        measure_profile(load_space("tiny"))


@pytest.mark.parametrize("variable", ["XDG_DATA_HOME", "HOME"])
def test_measuring_says_at_once_that_nothing_can_be_written(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    monkeypatch.setattr(
        "evaluators.latency.device.measure_profile._measured_now", lambda *_: pytest.fail("it began to measure")
    )
    with pytest.raises(InputError, match=r"cannot keep device profiles in .*file.*: Not a directory; set XDG_DATA_HOME=FOLDER"):
        measure_profile(load_space("tiny"))


@given(st.lists(st.text()), st.data())
def test_a_file_cut_anywhere_loses_the_line_that_was_cut_and_no_other(entries: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made" / "file"
        for entry in [*entries, "last"]:
            add_line(path, entry)
        content = path.read_bytes()
        kept = content[: data.draw(st.integers(0, len(content)))]
        path.write_bytes(kept)
        add_line(path, "after")
        add_line(path, "more")
        whole = [*entries, "last"][: kept.count(b"\n")]
        assert [json.loads(line) for line in whole_lines(path)] == [*whole, "after", "more"]


def test_damaged_lines_of_a_measurement_are_timed_again_and_no_others(tmp_path: Path) -> None:
    chosen = [Chosen(Genotype.parse(f"input 3x32x32\nconv {8 * i}/2\nhead\n"), 10, "fit") for i in range(1, 16)]
    path, visits = tmp_path / "d.partial", [Sample((0.001,), (0.001,), 0.0003)]
    for i in range(15):
        journal = Journal(path, chosen)
        journal.kernels[i] = ()
        journal.add(i, visits)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3], lines[7], lines[9] = lines[3][:20] + b"\n", b"\0" * 40 + b"\n", b"[" * 100_000 + b"\n"
    path.write_bytes(b"".join(lines)[:-9])
    found = Journal(path, chosen)
    assert sorted(found.samples) == [0, 1, 2, 4, 5, 6, 8, 10, 11, 12, 13] and found.samples[0] == visits
    found.kernels[14] = ()
    found.add(14, visits)
    assert sorted(Journal(path, chosen).samples) == [*sorted(found.samples)]
