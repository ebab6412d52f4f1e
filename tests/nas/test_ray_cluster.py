"""Searches on Ray clusters of several nodes on this machine, some of which are killed while they train."""

import json
import re
import secrets
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import yaml
from cluster import PATIENCE, Cluster, trains, wait_until
from killed import alone

from nas.records import Final
from nas.run.folder import open_run
from nas.run.memory import read_journal

pytestmark = pytest.mark.slow


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
    (tmp_path / "longer.yaml").write_text(yaml.safe_dump({**recipe, "least_images": 10000}))

    searches = []

    def run(*more, name="run", address=cluster.address, prepare=None, **environment):
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
            name,
            *more,
        ]
        command += ["--address", address] if address else []
        log = tmp_path / f"{name}.log"
        told = {k: v for k, v in cluster.environment.items() if k != "RAY_AUTH_MODE"} | environment
        with log.open("w") as out:
            process = psutil.Popen(list(map(str, command)), stdout=out, stderr=out, env=told, cwd=tmp_path, preexec_fn=prepare)
        searches.append(process)
        return process, tmp_path / name, log

    yield run
    for process in searches:
        if process.is_running():
            process.kill()
            process.wait()


def test_two_of_four_nodes_die_one_is_added_and_the_search_ends_as_a_serial_one(cluster, start):
    """Proposals do not depend on results here, nor does halving stop a training, so that every trial can be compared."""
    few = "--sampler", "random", "--epochs", 1, "--trials", 8, "--finalists", 1, "--no-measure"
    lost = [cluster.add_node(), cluster.add_node()]
    cluster.add_node()
    process, folder, log = start(*few)
    wait_until(lambda: all(map(trains, lost)), process, log)
    for node in lost:
        cluster.kill(node)
    added = cluster.add_node()
    wait_until(lambda: trains(added), process, log)
    assert process.wait(timeout=2 * PATIENCE) == 0, log.read_text()
    run, journal = open_run(folder), read_journal(folder / "journal.log")
    assert json.loads((folder / "result.json").read_text())["finished"], log.read_text()
    assert all(found.accuracy and run.weights(name).is_file() for name, found in journal.records(Final).items())
    assert log.read_text().count("Ray: The node with node id") == 2
    assert "state-dump" not in log.read_text()
    ended = _trained(folder)
    assert sum(origin == "search" for origin, *_ in ended.values()) == 8, log.read_text()
    process, folder, log = start(*few, "--workers", 0, name="serial", address=None, prepare=alone)
    assert process.wait(timeout=2 * PATIENCE) == 0, log.read_text()
    assert ended == _trained(folder)


def _trained(folder: Path) -> dict[str, tuple[str, str, tuple[float, ...]]]:
    """Origin, outcome and accuracies of each network that was to be trained."""
    trials = read_journal(folder / "journal.log").trials
    return {t.genotype.text: (t.origin, t.outcome, t.accuracies) for t in trials if t.outcome not in ("rejected", "repeated")}


def test_a_cluster_whose_last_node_that_is_large_enough_dies_ends_the_session(cluster, start):
    second = cluster.add_node(cpus=2)
    process, _, log = start("--workers", 1)
    wait_until(lambda: trains(second), process, log)
    cluster.kill(second)
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert "nas: no node with 2 processors is left in the Ray cluster; all results so far are kept" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_wrong_token_and_more_workers_than_processors_are_one_message(cluster, start):
    process, _, log = start(RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert re.search(r"nas: no Ray cluster answers at 127.0.0.2:[0-9]+: .*set RAY_AUTH_TOKEN to its head's", log.read_text())
    assert "Traceback" not in log.read_text()
    process, _, log = start("--workers", 2, name="more")
    assert process.wait(timeout=PATIENCE) == 2, log.read_text()
    assert "nas: the Ray cluster has processors for 1 parallel workers, not for 2" in log.read_text()
    assert "Traceback" not in log.read_text()
