"""Fuzzing of every reader of files: what a person, a crash or a stranger may have changed is read, or refused in one message.

    python benchmarks/fuzz.py                       # 100,000 genotypes, 10,000 spaces, 1,000 of each other kind
    python benchmarks/fuzz.py --share 0.01          # a hundredth of it
    python benchmarks/fuzz.py --only space --seed 7

Each input is an honest file with a few changes, of its text or, for JSON, of its values. A failure is anything but a result or
an InputError of one line, more than 5 s of processor time, or a file touched that is not the input's own. Exit code 1 if there
was one; each can be made again by its kind and seed.
"""

import argparse
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError

EXAMPLE = Path(__file__).parents[1] / "runs" / "example"
PROFILE = Path(__file__).parents[1] / "tests" / "data" / "profile_mobile.json"
SECONDS = 5.0  # of processor time, for one input
LONGEST = 4000  # letters of a message
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
    *("", "x", "yes", "nan", "../x", "/", "[/b]", "\x00", "é", "9" * 50, "x" * 5000),
    *([], {}, [[]], [{}], {"": None}, [1, 2, 3], ["a"], {"a": {"a": {}}}),
]
WORDS = [
    *(
        "",
        " ",
        "\n",
        "\t",
        ":",
        ": ",
        "-",
        "- ",
        ",",
        "[",
        "]",
        "{",
        "}",
        "|",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "! ",
        "!!int ",
        "%",
    ),
    *("'", '"', "\\", "\x00", "\x85", "\u2028", "é", "9", "9" * 4300, "1e999", "-1", "0x_", "nan", ".inf", "null", "yes", "~"),
    *("2001-99-99", "each", "head", "add", "concat", "x3", "x999999999", "/2", "8/1", "=", "act=relu", "[" * 300, "| " * 300),
]


class Hang(BaseException):
    """An input that takes too long; no Exception, so that no reader takes it for damage."""


@dataclass(frozen=True)
class Kind:
    """How to make an input in a new folder, from chance; how to read it there; how many are read in the long budget."""

    make: Callable[[random.Random, Path], None]
    read: Callable[[Path], object]
    count: int = 1000


# changes


def changed_text(rng: random.Random, text: str) -> str:
    """A text with one, two or four changes: words put in, parts cut out, doubled or moved, its end cut off."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + rng.choice((1, 1, 5, 50, 5000)))
        change = rng.randrange(6)
        if change < 3:
            text = text[:a] + rng.choice(WORDS) + text[b if change == 0 else a :]
        else:
            text = (text[:a] + text[b:], text[:b] + text[a:], text[:b])[change - 3]
    return text


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes of which a few are others, or the end is cut off, or a stretch is NUL."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        found[rng.randrange(len(found))] = rng.randrange(256)
    if rng.random() < 0.3:
        del found[rng.randrange(len(found)) :]
    if rng.random() < 0.1 and found:
        start = rng.randrange(len(found))
        found[start:] = bytes(len(found) - start)
    return bytes(found)


def changed_values(rng: random.Random, data: Any) -> Any:
    """JSON data with one to three values replaced, removed or doubled, somewhere."""
    data = json.loads(json.dumps(data))
    for _ in range(rng.randint(1, 3)):
        _change_one(rng, data)
    return data


def _change_one(rng: random.Random, data: Any) -> None:
    while isinstance(data, (dict, list)) and data:
        key = rng.choice(list(data)) if isinstance(data, dict) else rng.randrange(len(data))
        if isinstance(data[key], (dict, list)) and data[key] and rng.random() < 0.9:
            data = data[key]
        elif rng.random() < 0.8:
            data[key] = copy.deepcopy(rng.choice(VALUES))  # for later changes must not reach the list
            return
        else:
            del data[key]
            return


# kinds


def genotypes() -> Kind:
    from search_spaces.anchor import anchors
    from search_spaces.genotype import Genotype, read_genotype

    texts = [known.genotype.text for known in anchors()]

    def read(folder: Path) -> None:
        found = read_genotype(folder / "net.txt")
        assert Genotype.parse(found.text) == found

    return Kind(lambda rng, folder: _write(folder / "net.txt", changed_text(rng, rng.choice(texts))), read, 100_000)


def spaces() -> Kind:
    from search_spaces.genotype import Genotype
    from search_spaces.space_file import load_space, space_names, space_text

    texts = [space_text(name) for name in space_names()]

    def read(folder: Path) -> None:
        space = load_space(str(folder / "mine.yaml"))
        genotype = space.sample(random.Random(0))
        assert space.decode(space.encode(genotype)) == genotype == Genotype.parse(genotype.text) and space.size > 0

    return Kind(lambda rng, folder: _write(folder / "mine.yaml", changed_text(rng, rng.choice(texts))), read, 10_000)


def recipes() -> Kind:
    from evaluators.training.recipe import RECIPES, load_recipe

    texts = [RECIPES.text(name) for name in RECIPES.names()]
    make: Callable[[random.Random, Path], None] = lambda rng, folder: _write(  # noqa: E731
        folder / "mine.yaml", changed_text(rng, rng.choice(texts))
    )
    return Kind(make, lambda folder: load_recipe(str(folder / "mine.yaml")))


def runs() -> Kind:
    import yaml

    from nas.run.folder import open_run

    text = (EXAMPLE / "run.yaml").read_text(encoding="utf-8")

    def make(rng: random.Random, folder: Path) -> None:
        _place_run(folder)
        by_value = rng.random() < 0.5
        found = yaml.safe_dump(changed_values(rng, yaml.safe_load(text))) if by_value else changed_text(rng, text)
        _write(folder / "run.yaml", found)

    return Kind(make, lambda folder: open_run(folder).preprocessing((3, 96, 96)))


def journals() -> Kind:
    from nas.report.result import result
    from nas.run.folder import open_run
    from nas.run.journal import Journal
    from nas.run.memory import read_journal

    records = Journal(EXAMPLE / "journal.log", writable=False).read_logs(0)

    def make(rng: random.Random, folder: Path) -> None:
        _place_run(folder)
        kept = folder / "journal.log"
        if rng.random() < 0.5:  # well-formed, but wrong
            kept.write_bytes(_sealed(changed_values(rng, records[: rng.randint(1, len(records))])))
        else:
            kept.write_bytes(changed_bytes(rng, (EXAMPLE / "journal.log").read_bytes()))

    def read(folder: Path) -> None:
        read_journal(folder / "journal.log")
        result(open_run(folder))

    return Kind(make, read)


def profiles() -> Kind:
    from evaluators.latency.device.profile_files import load_profile

    whole = json.loads(PROFILE.read_text(encoding="utf-8"))
    for space in whole["spaces"].values():
        del space["networks"][6:]  # large files make slow fuzzing

    def make(rng: random.Random, folder: Path) -> None:
        text = json.dumps(changed_values(rng, whole)) if rng.random() < 0.7 else changed_text(rng, json.dumps(whole))
        _write(folder / "mine.json", text)

    return Kind(make, lambda folder: load_profile(str(folder / "mine.json"), anywhere=True))


def bench_results() -> Kind:
    from evaluators.latency.device.bundle import import_results, write_bundle
    from evaluators.latency.device.choose_networks import Effort
    from search_spaces.space_file import load_space

    home = Path(tempfile.mkdtemp(prefix="bundle-"))
    bundle = write_bundle(load_space("tiny"), home / "bundle", Effort(20, 8, 1.0), seed=0, progress=lambda *_: None)
    subprocess.run([sys.executable, bundle / "bench.py", "--to", home / "results.json"], check=True, capture_output=True)
    manifest, timed = (json.loads(path.read_text()) for path in (bundle / "manifest.json", home / "results.json"))

    def make(rng: random.Random, folder: Path) -> None:
        (folder / "bundle").mkdir()
        told = json.dumps(changed_values(rng, manifest) if rng.random() < 0.4 else manifest)
        _write(folder / "bundle" / "manifest.json", told)
        fits = timed | {"bundle": hashlib.sha256(told.encode()).hexdigest()}
        text = json.dumps(changed_values(rng, fits)) if rng.random() < 0.7 else changed_text(rng, json.dumps(fits))
        _write(folder / "results.json", text)

    return Kind(make, lambda folder: import_results(folder / "results.json", folder / "bundle"))


def weights() -> Kind:
    import torch
    from safetensors.torch import save_file

    from evaluators.weights import load_network
    from search_spaces.genotype import Genotype
    from search_spaces.network import build
    from search_spaces.task import Task
    from search_spaces.weights import read_tensors

    genotype, task = Genotype.parse("conv 8/2\nshuffle 16/2\nhead"), Task((3, 16, 16), 4)
    state = build(genotype, task).state_dict()
    odd: list[Callable[[Any], Any]] = [
        *(lambda t: t * float("nan"), lambda t: t.to(torch.complex64), lambda t: t.to(torch.int8), lambda t: t.to(torch.bool)),
        *(lambda t: t[:0] if t.dim() else t, lambda t: torch.tensor(1.0), lambda t: t.to(torch.float8_e4m3fn)),
        *(
            lambda t: t.to_sparse(),
            lambda t: t.to("meta"),
            lambda t: torch.zeros(1).expand(10**5, 10**6),
            lambda t: 3,
            lambda t: {},
        ),
    ]

    def make(rng: random.Random, folder: Path) -> None:
        name = rng.choice(list(state))
        changed: dict[Any, Any] = state | {rng.choice([name, 7, "", None]): rng.choice(odd)(state[name])}
        path = folder / rng.choice(("net.pth", "net.safetensors"))
        if path.suffix == ".pth":
            torch.save(changed if rng.random() < 0.7 else {"state_dict": changed, "epoch": 3}, path)
        else:
            save_file({str(n): t.clone() for n, t in changed.items() if isinstance(t, torch.Tensor) and _plain(t)}, path)
        if rng.random() < 0.5:
            path.write_bytes(changed_bytes(rng, path.read_bytes()))

    def read(folder: Path) -> object:
        [path] = folder.iterdir()
        return read_tensors(path) if path.suffix == ".pth" else load_network(genotype, task, path)

    return Kind(make, read)


def _plain(tensor: Any) -> bool:
    return str(tensor.layout) == "torch.strided" and not tensor.is_meta and tensor.is_contiguous()


KINDS: dict[str, Callable[[], Kind]] = {
    "genotype": genotypes,
    "space": spaces,
    "recipe": recipes,
    "run": runs,
    "journal": journals,
    "profile": profiles,
    "bench": bench_results,
    "weights": weights,
}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")


def _place_run(folder: Path) -> None:
    """The example's run, whose files are only read, by links."""
    for entry in EXAMPLE.iterdir():
        if entry.name not in ("run.yaml", "journal.log"):
            (folder / entry.name).symlink_to(entry)
    for name in ("run.yaml", "journal.log"):
        shutil.copyfile(EXAMPLE / name, folder / name)


def _sealed(records: list[Any]) -> bytes:
    """Records as a journal has them, each with the checksum of itself and of all before it."""
    crc, lines = 0, []
    for body in (json.dumps(record, separators=(",", ":")).encode() for record in records):
        crc = zlib.crc32(body, crc)
        lines.append(b'%b,"crc32":"%08x"}\n' % (body[:-1], crc) if body[-1:] == b"}" else body + b"\n")
    return b"".join(lines)


# running


def fuzz(name: str, kind: Kind, seeds: range, folder: Path) -> tuple[Counter[str], list[str]]:
    """(how many inputs were read and refused, failures) of one kind; `folder` holds nothing else."""
    ended, failures = Counter[str](), list[str]()
    (folder / "foreign").mkdir(parents=True, exist_ok=True)
    (folder / "foreign" / "thesis.txt").write_text("do not touch")
    before = _state(folder)
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            kind.make(random.Random(f"{name} {seed}"), Path(place))
            what = outcome(kind.read, Path(place))
        ended[what if what in ("read", "refused") else "failed"] += 1
        failures += [] if what in ("read", "refused") else [f"{name} {seed}: {what}"]
    if not ended["read"] and len(seeds) >= 100:
        failures.append(f"{name}: not one was read; honest files must be among the inputs")
    if _state(folder) != before:
        failures.append(f"{name}: files were touched that are not its own")
    return ended, failures


def outcome(read: Callable[[Path], object], place: Path) -> str:
    """ "read" or "refused"; anything else is the failure."""
    try:
        with limited(SECONDS):
            read(place)
    except InputError as error:
        return _check_message(error) or "refused"
    except Hang:
        return f"more than {SECONDS:g} s: {''.join(traceback.format_exc(limit=-3)).splitlines()[-3:]}"
    except Exception as error:  # noqa: BLE001 any is what is looked for
        at = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {str(error)[:200]}"
    return "read"


def _check_message(error: InputError) -> str:
    said = str(error)
    return f"a message of {len(said)} letters in {said.count(chr(10)) + 1} lines" if "\n" in said or len(said) > LONGEST else ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang after so much processor time, whatever else the machine does."""

    def stop(*_: object) -> None:
        raise Hang

    kept = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, kept)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file in the folder, beside it, and in the example."""
    places = [path for top in (folder, EXAMPLE) for path in top.rglob("*")]
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in places if path.is_file()}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--share", type=float, default=1.0, help="of the long budget")
    options.add_argument("--only", choices=KINDS, action="append", help="one kind; may be given several times")
    options.add_argument("--seed", type=int, default=0, help="of the first input")
    flags, failed = options.parse_args(), 0
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_DATA_HOME"] = home
        for name in flags.only or KINDS:
            kind = KINDS[name]()
            seeds = range(flags.seed, flags.seed + max(1, round(kind.count * flags.share)))
            ended, failures = fuzz(name, kind, seeds, Path(home) / name)
            print(f"{name:9} {len(seeds):7} inputs: {ended['read']} read, {ended['refused']} refused, {len(failures)} failures")
            print("".join(f"  {failure}\n" for failure in failures[:20]), end="", flush=True)
            failed += len(failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
