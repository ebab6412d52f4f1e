"""Networks written by several processes are those that one writes, and a process that is killed is said."""

from pathlib import Path

import psutil
import pytest

from evaluators.latency import exporting
from evaluators.latency.exporting import Order, write_network, writers
from evaluators.latency.runtime import DEFAULT, load_runtime
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

TASK = Task((3, 16, 16), 3)


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
