"""Cluster: Ray nodes on this machine, which tests start and kill."""

import os
import re
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path

import psutil

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
        wait_until(lambda: "Ray runtime started" in log.read_text(), node, log)
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


def wait_until(until, process: psutil.Process, log: Path) -> None:
    for _ in range(20 * PATIENCE):
        if until():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} seconds in vain: {log.read_text()}")


def trains(node: psutil.Process) -> bool:
    for process in _family(node):
        try:
            if re.match(r"ray::\w+\.train$", process.cmdline()[0]):
                return True
        except (psutil.NoSuchProcess, IndexError):  # it ends just now
            continue
    return False
