"""Times prepared networks relative to the profile's quiet reference time, in this process or a fresh one.

usage, internal to `measure_apart`: python -m evaluators.latency.device.measure_networks PIPE < JOB.json > FIGURES.json
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators.imports import import_path
from evaluators.latency.device.profile import Profile
from evaluators.latency.runtime import load_runtime
from evaluators.latency.timing.measure import Measurement, load_reference, quietest, sample_rounds, summarise, write_reference
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

_PATIENCE_S = 600.0  # beyond the seconds requested: loading, and finishing rounds


@dataclass(frozen=True)
class Bench:
    """How a device is timed: runtime, threads, and the reference network's quiet time from the device profile.

    usual: contention under typical load, the median over the profile's networks.

    Without the quiet time, constant load would look like a slow machine, and `contention` and `robust_ms` would miss it.
    """

    runtime: str
    threads: int = 1
    quiet_ms: float | None = None
    usual: float = 0.0

    @classmethod
    def of(cls, profile: Profile, space: SearchSpace) -> "Bench":
        """The settings with which a profile was measured for a space."""
        known = profile.calibration(space)
        return cls(profile.device.runtime, profile.device.threads, known.reference_ms, known.contention)


def measure_here(
    paths: Sequence[Path], seconds: float, bench: Bench, seed: int = 0, *, reference: Path | None = None
) -> list[Measurement]:
    """Times files prepared by the runtime, in interleaved rounds, for about `seconds` seconds in total.

    reference: the reference network's file, exported here if None.
    """
    code = load_runtime(bench.runtime)
    runs = [code.load(path, bench.threads) for path in paths]
    samples = sample_rounds(runs, load_reference(code, bench.threads, reference), seconds, random.Random(seed))
    seen = quietest([s for visits in samples for s in visits])
    quiet = seen if bench.quiet_ms is None else min(seen, bench.quiet_ms / 1e3)
    return [summarise(visits, quiet) for visits in samples]


def measure_apart(paths: Sequence[Path], seconds: float, bench: Bench, seed: int = 0) -> list[Measurement]:
    """`measure_here` in a fresh process, free of the search's threads, caches and heap, and of torch unless it is the runtime.

    Raises InputError with the last line of stderr when the process fails.
    """
    code = load_runtime(bench.runtime)
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / f"reference{code.SUFFIX}"
        write_reference(code, reference)
        job = {"paths": list(map(str, paths)), "seconds": seconds, "bench": asdict(bench), "seed": seed}
        done = _run({**job, "reference": str(reference)}, seconds + _PATIENCE_S)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"measuring in a fresh process failed: {reason}")
    return [Measurement(**figures) for figures in json.loads(done.stdout.splitlines()[-1])]


def _run(job: dict[str, Any], patience: float) -> "subprocess.CompletedProcess[str]":
    """Runs `main` in a fresh process, which ends when this one does."""
    command = [sys.executable, "-P", "-m", "evaluators.latency.device.measure_networks"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
    end, own = os.pipe()  # the other end breaks when this process dies, for whatever reason
    try:
        return subprocess.run(
            [*command, str(end)],
            input=json.dumps(job),
            env=environment,
            pass_fds=[end],
            capture_output=True,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"measuring in a fresh process took longer than {patience:.0f} s") from None
    finally:
        os.close(end)
        os.close(own)


def main() -> None:
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    job = json.load(sys.stdin)
    paths = [Path(path) for path in job["paths"]]
    found = measure_here(paths, job["seconds"], Bench(**job["bench"]), job["seed"], reference=Path(job["reference"]))
    print(json.dumps([asdict(m) for m in found]))


def _end_with(pipe: int) -> None:
    """Exits when the process at the other end of the pipe dies."""
    os.read(pipe, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
