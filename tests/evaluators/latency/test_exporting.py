"""Networks written by several processes are those that one writes, and a process that is killed is said."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from evaluators.latency.runtime import DEFAULT, load_runtime
from evaluators.latency.timing import exporting
from evaluators.latency.timing.exporting import Order, write_network, writers
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

TASK = Task((3, 16, 16), 3)


ASKING = """
import sys
from pathlib import Path
from evaluators.latency.timing import exporting
from evaluators.latency.runtime import DEFAULT
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if __name__ == "__main__":
    exporting._LEAST, exporting.processors = 1, lambda: 2
    asked = [exporting.Order(Genotype.parse("conv 8/2\\nhead\\n"), Task((3, 16, 16), 3), Path(f"{i}.onnx")) for i in range(2)]
    with exporting.writers(DEFAULT, 2) as write:
        print(len(list(write(asked))), flush=True)
        sys.stdin.read()
"""


def orders(folder: Path, count: int) -> list[Order]:
    genotypes = [Genotype.parse(f"conv {8 + 8 * i}/2\ninverted_residual 16/1\nhead\n") for i in range(count)]
    return [Order(g, TASK, folder / f"{i}.onnx") for i, g in enumerate(genotypes)]


def helpers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_LEAST", 2)
    monkeypatch.setattr(exporting, "processors", lambda: 2)


@pytest.mark.usefixtures("two")
def test_two_processes_write_what_one_writes_in_order(tmp_path: Path) -> None:
    asked = orders(tmp_path, 4)
    with writers(DEFAULT, len(asked)) as write:
        assert list(write(asked[:3])) == [o.path for o in asked[:3]] and len(helpers()) == 2
        assert list(write(asked[3:])) == [asked[3].path]
    assert not helpers()
    for order in asked:
        written = order.path.read_bytes()
        write_network(order.genotype, TASK, load_runtime(DEFAULT), order.path)
        assert order.path.read_bytes() == written


def test_few_networks_start_no_process(tmp_path: Path) -> None:
    asked = orders(tmp_path, 2)
    with writers(DEFAULT, len(asked)) as write:
        assert list(write(asked)) == [o.path for o in asked] and not helpers()


@pytest.mark.usefixtures("two")
def test_a_killed_process_is_said(tmp_path: Path) -> None:
    asked = orders(tmp_path, 4)
    with pytest.raises(InputError, match="was killed"), writers(DEFAULT, len(asked)) as write:
        list(write(asked[:2]))
        for process in helpers():
            process.kill()
        list(write(asked[2:]))


def test_the_processes_end_with_the_one_that_asked_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "asking.py").write_text(ASKING)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    asking = psutil.Popen([sys.executable, "asking.py"], cwd=tmp_path, **pipes)
    assert asking.stdout.readline() == "2\n"
    started = [p for p in asking.children() if "spawn_main" in " ".join(p.cmdline())]
    asking.kill()
    asking.wait()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert len(started) == 2 and not alive
