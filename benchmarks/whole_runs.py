"""Whole runs by the command line, for the other scripts: what is done is kept in a folder, and files are timed in turns."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from evaluators.latency.device.measure_networks import Bench, measure_apart
from evaluators.latency.runtime import load_runtime
from search_spaces.anchor import anchor
from search_spaces.network import build

SESSIONS, SECONDS = 3, 3.0


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What `make` returns, kept in a JSON file."""
    if not path.is_file():
        path.write_text(json.dumps(make(), indent=1) + "\n")
    return json.loads(path.read_text())


def nas(*arguments: object, threads: int | None = None) -> None:
    """Runs a command of `nas`; `threads` limits torch's."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    subprocess.run([sys.executable, "-m", "nas", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, env=environment)


def result_of(run: Path, command: str, *arguments: object) -> dict[str, Any]:
    """The result of a run by `nas COMMAND ARGUMENTS`; one that was begun is gone on with."""
    nas(*(("resume", run) if run.is_dir() else (command, *arguments, "--run", run)))
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def anchor_ms(name: str, runtime: str) -> float:
    """Milliseconds of an anchor as published, with its own input and classes."""
    known = anchor(name)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        code = load_runtime(runtime)
        path = Path(folder) / f"network{code.SUFFIX}"
        code.prepare(build(known.genotype, known.task).eval(), known.task, path)
        return medians([path], runtime)[0]


def medians(paths: Sequence[Path], runtime: str) -> list[float]:
    """Median over fresh processes of each file's p50, in milliseconds, the files in turns."""
    sessions = [measure_apart(list(paths), SECONDS * len(paths), Bench(runtime), seed) for seed in range(SESSIONS)]
    return [statistics.median(m.p50_ms for m in of_one) for of_one in zip(*sessions, strict=True)]
