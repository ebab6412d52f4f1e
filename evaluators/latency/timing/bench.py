"""Times the networks of a bundle on this machine and writes results.json.

usage: python bench.py [--threads N] [--seconds S] [--to results.json]

`nas device bundle` copies it into each bundle; `nas device import` turns the results into a device profile. It needs only
numpy, the runtime and Python 3.8, for boards with old systems; the project itself times with the same functions.
Each visit to a network times it in short turns, with runs of the reference network before, between and after them. Visits go
in rounds, each in a new random order. With one thread, the clock is CPU time of the calling thread, pinned to one processor.
ONNX Runtime reports kernel times as well. After Ctrl-C, run the same command to continue: only the current group of networks
is timed again.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
import zlib
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[[], Any]
    Clock = Literal["cpu", "wall", "event"]  # "event": each run returns its seconds, by the device's own clock
    Turns = list[Any]  # per turn: wall seconds of its runs, their CPU seconds, mean seconds of the reference around it
    Visit = tuple[int, Turns, float]  # index of the network, its turns, overall progress (0..1)

FORMAT = 4
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.29, ONNX Runtime sends telemetry unless this is set
PACKAGES = {f"{n}_{p}": of for n, of in (("onnxruntime",) * 2, ("litert", "ai-edge-litert")) for p in ("cpu", "int8")}
_GROUP = 8  # networks in memory at once
LEAST_VISITS, _TURNS, _MOST_RUNS, _TURN_S = 4, 3, 20, 0.004
_PROFILED, _WARM_UP, _LOWEST = 36, 3, 0.3
_TIMED, _GRAPH = "_kernel_time", "optimised.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the networks beside this script.")
    parser.add_argument("--threads", type=int, default=1, help="threads of the runtime (default: 1)")
    parser.add_argument("--seconds", type=float, help="time spent timing (default: the bundle's)")
    parser.add_argument("--to", type=Path, default=Path("results.json"), help="the file to write (default: results.json)")
    flags = parser.parse_args()
    if flags.threads < 1:
        sys.exit("bench.py: --threads must be 1 or more")
    folder = Path(__file__).resolve().parent
    manifest, bundle = read_manifest(folder)
    partial, runtime = flags.to.with_name(flags.to.name + ".partial"), manifest["runtime"]
    device = {"cpu": cpu_model(), "runtime": runtime, "runtime_version": installed(runtime)}
    device.update(threads=flags.threads, dtype=manifest["dtype"])
    head = {"format": FORMAT, "bundle": bundle, "device": device, "clock": "cpu" if flags.threads == 1 else "wall"}
    seconds = manifest["seconds"] if flags.seconds is None else flags.seconds
    try:
        measure(folder, manifest, {**head, **resumed(partial, head)}, partial, seconds)
    except KeyboardInterrupt:
        sys.exit(f"\nbench.py: stopped; finished networks are in {partial}; run the same command to continue")
    os.replace(partial, flags.to)
    print(f"wrote {flags.to}; on the machine that made the bundle: nas device import {flags.to.name} --bundle FOLDER")


def read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """The manifest and its sha256; exits with a message when a file of the bundle is missing or damaged."""
    try:
        text = (folder / "manifest.json").read_bytes()
        manifest = json.loads(text)
        if manifest["runtime"] not in PACKAGES:
            sys.exit(f'bench.py: unknown runtime "{manifest["runtime"]}"; known: {", ".join(PACKAGES)}')
        for entry in (manifest["reference"], *manifest["networks"]):
            if hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() != entry["sha256"]:
                sys.exit(f"bench.py: {entry['file']} is damaged; copy the bundle again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"bench.py: the bundle is incomplete ({error}); copy it again")
    return manifest, hashlib.sha256(text).hexdigest()


def resumed(partial: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Results that an interrupted run with the same bundle, device and threads left behind; empty if there are none."""
    nothing: dict[str, Any] = {"samples": {}, "kernels": {}, "seconds": 0.0}
    try:
        known = json.loads(partial.read_text(encoding="utf-8"))
        same = {key: known[key] for key in head} == head
        return {key: type(value)(known[key]) for key, value in nothing.items()} if same else nothing
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return nothing


def measure(folder: Path, manifest: dict[str, Any], results: dict[str, Any], partial: Path, seconds: float) -> None:
    """Times the networks missing from `results`, group by group, and saves after each group."""
    rng, threads = random.Random(), results["device"]["threads"]
    names = [entry["file"] for entry in manifest["networks"]]
    todo = [name for name in names if name not in results["samples"]]
    rng.shuffle(todo)
    reference = load(folder / manifest["reference"]["file"], threads)
    before, start = results["seconds"], time.monotonic()
    for first in range(0, len(todo), _GROUP):
        group = todo[first : first + _GROUP]
        print(f"\r{len(names) - len(todo) + first} of {len(names)} networks timed ", end="", flush=True)
        results["kernels"].update({name: kernel_profile(folder / name, threads) for name in group if name.endswith(".onnx")})
        runs, share = [load(folder / name, threads) for name in group], seconds * len(group) / len(names)
        found: dict[str, Turns] = {name: [] for name in group}
        with pinned() if threads == 1 else nullcontext():
            for i, turns, _ in visits(runs, reference, results["clock"], share, rng):
                found[group[i]] += turns
        results["samples"].update(found)
        results["seconds"] = round(before + time.monotonic() - start, 1)
        write(partial, results)
    created = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    write(partial, {**results, "machine": machine(), "load": load_average(), "created": created})
    print(f"\r{len(names)} of {len(names)} networks timed")


def visits(runs: Sequence[Run], reference: Run, clock: Clock, seconds: float, rng: random.Random) -> Iterator[Visit]:
    """Visits networks in rounds, each in a new random order, until the time is up; at least four rounds."""
    for run in (reference, *runs):
        timed(run, 2, clock)
    start, rounds = time.monotonic(), 0
    while rounds < LEAST_VISITS or time.monotonic() - start < seconds:
        for done, index in enumerate(rng.sample(range(len(runs)), len(runs))):
            turns, by_rounds = visit(runs[index], reference, clock), (rounds + done / len(runs)) / LEAST_VISITS
            yield index, turns, min(1.0, by_rounds, (time.monotonic() - start) / seconds if seconds else 1.0)
        rounds += 1


def visit(run: Run, reference: Run, clock: Clock) -> Turns:
    """Warms up with one run, then times three turns of 4 ms (at least one run) each, between runs of the reference."""
    first = timed(run, 1, clock)[0][0]
    times, turns, before = max(1, min(_MOST_RUNS, int(_TURN_S / max(first, 1e-6)))), [], reference_seconds(reference, clock)
    for _ in range(_TURNS):
        (wall, cpu), after = timed(run, times, clock), reference_seconds(reference, clock)
        turns.append([wall, cpu, (before + after) / 2])
        before = after
    return turns


def reference_seconds(run: Run, clock: Clock) -> float:
    """Seconds of the faster of two runs, after one warm-up run."""
    return min(timed(run, 3, clock)[1 if clock == "cpu" else 0][1:])


def timed(run: Run, times: int, clock: Clock = "wall") -> tuple[list[float], list[float]]:
    """Wall and thread CPU seconds of each of `times` runs; with the clock "event", wall is what the run returns."""
    walls, cpus = [], []
    for _ in range(times):
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        found = run()
        walls.append(found if clock == "event" else (time.perf_counter_ns() - wall) * 1e-9)
        cpus.append((time.thread_time_ns() - cpu) * 1e-9)
    return walls, cpus


@contextmanager
def pinned() -> Iterator[None]:
    """Pins the calling thread to the last processor it may use; does nothing where the system does not support it."""
    with ExitStack() as stack:
        with suppress(AttributeError, OSError):
            allowed = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {max(allowed)})
            stack.callback(os.sched_setaffinity, 0, allowed)
        yield


def load(path: Path, threads: int) -> Run:
    """A function that runs the network once on a fixed image."""
    return _load_litert(path, threads) if path.suffix == ".tflite" else _once(open_session(path, threads))


def _load_litert(path: Path, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    image = example(source["shape"])

    def run() -> object:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def open_session(path: Path, threads: int, profile: Path | None = None) -> Any:
    """An ONNX Runtime session for a file; the optimised graph and the profile go to the folder `profile`, if given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4 if profile else 3
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile / "profile")
        options.optimized_model_filepath = str(profile / _GRAPH)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _once(session: Any) -> Run:
    source = session.get_inputs()[0]
    image = example(source.shape)
    return lambda: session.run(None, {source.name: image})[0]


def example(shape: Sequence[int]) -> Any:
    """The input image for every runtime: standard normal, float32, identical for identical shapes."""
    import numpy as np

    return np.random.default_rng(0).standard_normal(tuple(shape), np.float32)


def kernel_profile(path: Path, threads: int) -> dict[str, Any]:
    """The result of `profiled` in a form that JSON can hold."""
    graph, kernels = profiled(path, threads)
    return {"graph": base64.b64encode(zlib.compress(graph)).decode(), "times": kernels}


def profiled(path: Path, threads: int, runs: int = _PROFILED) -> tuple[bytes, list[list[Any]]]:
    """The optimised graph of a file, without weights, and its kernels as ONNX Runtime's profiler reports them.

    For each kernel: its name in the graph, operator, input shapes, output shapes, and milliseconds (mean of the fastest
    30 % of `runs` runs). Profiling adds a few microseconds per kernel, so their sum exceeds the network's latency.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path, threads, Path(folder))
        timed(_once(session), _WARM_UP + runs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return Path(folder, _GRAPH).read_bytes(), _kernels(events)


def _kernels(events: Sequence[dict[str, Any]]) -> list[list[Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIMED):
            found.setdefault(event["name"][: -len(_TIMED)], []).append(event)
    return [[name, *_kernel(of_name)] for name, of_name in found.items()]


def _kernel(events: Sequence[dict[str, Any]]) -> list[Any]:
    about = events[0]["args"]
    read, written = ([list(shape) for e in about[f"{side}_type_shape"] for shape in e.values()] for side in ("input", "output"))
    return [about["op_name"], read, written, round(lowest([event["dur"] * 1e-3 for event in events[_WARM_UP:]]), 6)]


def lowest(times: Sequence[float]) -> float:
    """The mean of the fastest 30 % of a kernel's runs: other load on the machine only adds time."""
    return statistics.fmean(sorted(times)[: max(1, int(_LOWEST * len(times)))])


def installed(runtime: str) -> str:
    """The version of a runtime; exits with a message when it is not installed."""
    try:
        if PACKAGES[runtime] != "onnxruntime":
            return metadata.version(PACKAGES[runtime])
        import onnxruntime  # several packages provide it

        return str(onnxruntime.__version__)
    except ImportError:
        sys.exit(f"bench.py: {PACKAGES[runtime]} is not installed: pip install {PACKAGES[runtime]} numpy")


def cpu_model() -> str:
    """The processor's name from the operating system, with family and model, or implementer and part, where known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name") or facts.get("Hardware") or facts.get("Model") or platform.processor() or platform.machine()
    numbers = [facts[key] for key in ("cpu family", "model", "CPU implementer", "CPU part") if key in facts]
    return f"{name} ({'/'.join(numbers)})" if numbers else name


def machine() -> dict[str, Any]:
    """Facts about the machine, for information only."""
    return {"os": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}


def load_average() -> float:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes the file atomically."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps(content) + "\n", encoding="utf-8")
    os.replace(draft, path)


if __name__ == "__main__":
    main()
