"""What int8 does to latency: hand-designed networks, and each kind of block, in float32 and int8 in turns on this machine.

usage: python benchmarks/int8.py [--runtime NAME] [--only anchors|blocks] [--seconds S] [--sessions N] [--seed N]

Networks have random weights and are timed at their published input with ONNX Runtime or another runtime that has int8, one
thread, batch 1, by the project's own protocol; both files of a network in one session. A block is timed as four of its kind,
64 channels wide at stride 1 on 28x28 pixels, in a network that is timed without them, too; the difference counts. Figures are
medians over sessions, each in a fresh process, with the smallest and largest.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from evaluators.latency.device.measure_networks import Bench, measure_apart
from evaluators.latency.runtime import DEFAULT, at_precision, load_runtime
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.registry import block_kinds
from search_spaces.task import Task

ANCHORS = (
    *("mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "mobilenet_v3:small", "mobilenet_v4", "efficientnet_lite"),
    *("mnasnet", "shufflenet_v2", "shiftnet", "fe_net", "espnet_v2"),
)
TASK = Task((3, 224, 224), 10)
STEM, END, TIMES = "conv 32/4\nconv 64/2\n", "head\n", 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default=DEFAULT)
    parser.add_argument("--only", choices=("anchors", "blocks"))
    parser.add_argument("--seconds", type=float, default=2.0, help="per file and session")
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if flags.only != "blocks":
            time_anchors(Path(folder), flags)
        if flags.only != "anchors":
            time_blocks(Path(folder), flags)


def time_anchors(folder: Path, flags: argparse.Namespace) -> None:
    print(f"{'network':<24}{'float32 ms':>12}{'int8 ms':>10}{'float32 / int8':>26}{'float32 MB':>12}{'int8 MB':>9}")
    for name in ANCHORS:
        task = Task(anchor(name).task.input, 1000)
        times, sizes = timed([anchor(name).genotype], task, folder, flags)
        report(name, *times[0], sizes)


def time_blocks(folder: Path, flags: argparse.Namespace) -> None:
    print(f"\n{'block (4 of them)':<24}{'float32 ms':>12}{'int8 ms':>10}{'float32 / int8':>26}")
    for text in blocks():
        alone, more = (Genotype.parse(STEM + f"{text}\n" * count + END) for count in (0, TIMES))
        try:
            times, _ = timed([alone, more], TASK, folder, flags)
        except InputError as error:
            print(f"{text:<24}{error}", flush=True)
            continue
        (base, base8), (whole, whole8) = times
        report(text, [w - b for w, b in zip(whole, base, strict=True)], [w - b for w, b in zip(whole8, base8, strict=True)])


def blocks() -> Iterator[str]:
    """Text of each kind of block that changes 64 channels at stride 1."""
    for name, kind in block_kinds().items():
        if "classes" not in kind.takes and not kind.has_branches and name not in ("identity", "dropout"):
            yield f"{name} {'64' if kind.has_width else ''}{'/1' if kind.has_stride else ''}".strip()


def timed(
    genotypes: list[Genotype], task: Task, folder: Path, flags: argparse.Namespace
) -> tuple[list[tuple[list[float], list[float]]], list[int]]:
    """Milliseconds of each network by session, in float32 and int8; bytes of all files."""
    files = []
    for i, genotype in enumerate(genotypes):
        for runtime in (flags.runtime, at_precision(flags.runtime, "int8")):
            torch.manual_seed(0)
            code = load_runtime(runtime)
            files.append(folder / f"{i}-{runtime}{code.SUFFIX}")
            code.prepare(build(genotype, task).eval(), task, files[-1])
    sessions = [
        measure_apart(files, flags.seconds * len(files), Bench(flags.runtime), flags.seed + s) for s in range(flags.sessions)
    ]
    by_file = [[session[i].robust_ms for session in sessions] for i in range(len(files))]
    return list(zip(by_file[::2], by_file[1::2], strict=True)), [file.stat().st_size for file in files]


def report(name: str, plain: list[float], quantised: list[float], sizes: list[int] | None = None) -> None:
    ratios = [a / b for a, b in zip(plain, quantised, strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    bytes_ = "".join(f"{size / 1e6:>{width}.2f}" for size, width in zip(sizes or [], (12, 9), strict=False))
    print(f"{name:<24}{statistics.median(plain):>12.3f}{statistics.median(quantised):>10.3f}{spread:>26}{bytes_}", flush=True)


if __name__ == "__main__":
    main()
