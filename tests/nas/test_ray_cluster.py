"""A search on a Ray cluster of two nodes, both on this machine; one of them is killed while it trains."""

import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from nas.records import Final
from nas.run.folder import open_run
from nas.run.memory import read_journal

pytestmark = pytest.mark.slow

_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # set to 0 by searches without a cluster, in this process too
PATIENCE = 300  # seconds; a limit against hanging, wide enough for a machine that is busy with other work


class Cluster:
    """Ray nodes, started by Ray's own command; only their own processes are ever killed.

    Each has an address of its own on the loopback; 127.0.0.1 would be replaced by that of a network card.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.nodes, self.port = folder, [], _free_port()
        outside = {k: v for k, v in os.environ.items() if k != _ONE_MACHINE}
        self.environment = {**outside, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment |= {"RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "160"}

    @property
    def address(self) -> str:
        return f"127.0.0.2:{self.port}"

    def add_node(self, cpus: int = 1) -> psutil.Process:
        """Starts the head, or another node; returns its process once it has joined."""
        ports = ["--port", self.port, "--include-dashboard", "false"]
        role = ["--address", self.address] if self.nodes else ["--head", *ports, "--temp-dir", self.folder]
        common = ["--block", "--num-cpus", cpus, "--object-store-memory", 150 * 2**20]
        own = ["--node-ip-address", f"127.0.0.{2 + len(self.nodes)}"]
        command = [Path(sys.executable).with_name("ray"), "start", *role, *common, *own]
        log = self.folder / f"node{len(self.nodes)}.log"
        with log.open("w") as out:
            node = psutil.Popen(list(map(str, command)), stdout=out, stderr=out, env=self.environment, cwd=self.folder)
        self.nodes.append(node)
        _wait(lambda: "Ray runtime started" in log.read_text(), node, log)
        return node

    def kill(self, node: psutil.Process) -> None:
        """The whole node at once, as if its machine was switched off."""
        for process in [node, *_family(node)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()

    def close(self) -> None:
        for node in reversed(self.nodes):
            if node.is_running():
                self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.2", 0))
        return s.getsockname()[1]


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _wait(until, process: psutil.Process, log: Path) -> None:
    for _ in range(20 * PATIENCE):
        if until():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} seconds in vain: {log.read_text()}")


def _trains(node: psutil.Process) -> bool:
    for process in _family(node):
        try:
            if re.match(r"ray::\w+\.train$", process.cmdline()[0]):
                return True
        except (psutil.NoSuchProcess, IndexError):  # it ends just now
            continue
    return False


@pytest.fixture
def cluster():
    made = Cluster(Path(tempfile.mkdtemp(prefix="nas-", dir="/tmp")))  # short: it will hold sockets
    try:
        made.add_node()
        yield made
    finally:
        made.close()


@pytest.fixture
def start(cluster, workshop, small_search, tmp_path):
    """Starts the small search on the cluster, with longer epochs; returns its process, run folder and log.

    It is not told that the cluster asks for a token, as it would not be on the head's own machine.
    """
    recipe = yaml.safe_load((workshop / "quick.yaml").read_text())
    (tmp_path / "longer.yaml").write_text(yaml.safe_dump({**recipe, "least_images": 3000}))

    searches = []

    def run(*more, **environment):
        command = [
            sys.executable,
            "-m",
            "nas",
            *small_search,
            "--recipe",
            "longer.yaml",
            "--final-seeds",
            1,
            "--run",
            "run",
            *more,
        ]
        command += ["--address", cluster.address]
        log = tmp_path / "search.log"
        told = {k: v for k, v in cluster.environment.items() if k != "RAY_AUTH_MODE"} | environment
        with log.open("w") as out:
            process = psutil.Popen(list(map(str, command)), stdout=out, stderr=out, env=told, cwd=tmp_path)
        searches.append(process)
        return process, tmp_path / "run", log

    yield run
    for process in searches:
        if process.is_running():
            process.kill()
            process.wait()


def test_a_node_that_dies_costs_only_the_trainings_in_flight(cluster, start):
    second = cluster.add_node()
    process, folder, log = start()
    _wait(lambda: _trains(second), process, log)
    cluster.kill(second)
    assert process.wait(timeout=2 * PATIENCE) == 0, log.read_text()
    run, journal = open_run(folder), read_journal(folder / "journal.log")
    assert json.loads((folder / "result.json").read_text())["finished"], log.read_text()
    trials = [t for t in journal.trials if t.outcome not in ("rejected", "repeated")]
    assert sum(t.anchor is None for t in trials) == 4, log.read_text()
    assert all(t.outcome in ("trained", "stopped") and t.accuracies for t in trials), trials
    assert all(found.accuracy and run.weights(name).is_file() for name, found in journal.records(Final).items())
    assert "Ray: The node with node id" in log.read_text()
    assert "state-dump" not in log.read_text()


def test_a_cluster_whose_last_node_that_is_large_enough_dies_ends_the_session(cluster, start):
    second = cluster.add_node(cpus=2)
    process, _, log = start("--workers", 1)
    _wait(lambda: _trains(second), process, log)
    cluster.kill(second)
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert "nas: no node with 2 processors is left in the Ray cluster; all results so far are kept" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_more_workers_than_processors_are_refused(cluster, start):
    process, _, log = start("--workers", 2)
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert "nas: the Ray cluster has processors for 1 parallel workers, not for 2" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_token_that_is_not_the_clusters_is_one_message(start):
    process, _, log = start(RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert re.search(r"nas: no Ray cluster answers at 127.0.0.2:[0-9]+: .*set RAY_AUTH_TOKEN to its head's", log.read_text())
    assert "Traceback" not in log.read_text()
