"""What another installed package adds: a made-up distribution's block, space, data set and sampler are listed and used."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = '''"""halve: what a person might write."""

from torch import Tensor, nn

from search_spaces.registry import block
from theirs.kinds import Kernel


@block("halve")
class Halve(nn.Module):
    """A convolution, scaled."""

    def __init__(self, c_in: int, c_out: int, stride: int, *, kernel: Kernel = 1, factor: float = 0.5) -> None:
        super().__init__()
        self.conv, self.factor = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.conv(x)
'''
DATA = '''"""Grey noise, brighter for the second class."""

import numpy as np

from evaluators.data.dataset import Found, Images


def read(path, download):
    """Two classes of noise; takes no path"""
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    images = (rng.integers(0, 120, (60, 8, 8)) + 120 * labels[:, None, None]).astype(np.uint8)
    parts = [Images(images[i::3], labels[i::3]) for i in range(3)]
    return Found(("dark", "bright"), *parts, "noise that is made up")
'''
SAMPLER = """import optuna


def sampler(pool, seed):
    return optuna.samplers.RandomSampler(seed=seed)
"""
SPACE = """summary: halves alone
input: [3, 8, 8]
stages:
  - {name: body, width: [8, 16], depth: [1, 2], blocks: {halve: {kernel: [1, 3]}}}
  - {name: head, blocks: {head: {}}}
"""
ENTRIES = """[compact_nas.blocks]
all = theirs.halve

[compact_nas.datasets]
two-greys = theirs.greys

[compact_nas.samplers]
lots = theirs.lots

[compact_nas.spaces]
all = theirs.spaces
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


def install(site: Path, name: str, entries: str) -> None:
    """What pip writes of a distribution so that its entry points are found."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which the package `theirs` is installed."""
    package = tmp_path / "site" / "theirs"
    (package / "spaces").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "kinds.py": "from typing import Literal\n\nKernel = Literal[1, 3]\n",
        "halve.py": BLOCK,
        "greys.py": DATA,
        "lots.py": SAMPLER,
        "spaces/halves.yaml": SPACE,
    }.items():
        (package / name).write_text(text)
    install(package.parent, "theirs", ENTRIES)
    return package.parent


@pytest.fixture
def python(site: Path, tmp_path: Path) -> Run:
    """Runs python where `theirs` is installed, away from the sources."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        paths = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "XDG_DATA_HOME": str(tmp_path / "data")}
        environment = {**os.environ, **paths, "COLUMNS": "200"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    return run


def test_what_a_package_adds_is_listed(python: Run) -> None:
    for what, line in (
        ("blocks", "halve kernel=1 factor=0.5 A convolution, scaled."),
        ("datasets", "two-greys Two classes of noise; takes no path"),
        ("spaces", "halves 8 10^0.9 halves alone"),
    ):
        done = python("-m", "nas", "list", what)
        assert done.returncode == 0, done.stderr
        assert line in [" ".join(row.split()) for row in done.stdout.splitlines()]
    listed = [row.split()[0] for row in python("-m", "nas", "list", "samplers").stdout.splitlines()]
    assert listed[1:5] == ["evolution", "gp", "lots", "nsga2"]


def test_listing_what_a_package_adds_loads_no_torch(python: Run) -> None:
    code = "import sys; from search_spaces.registry import block_kind; block_kind('halve'); print('torch' in sys.modules)"
    assert python("-c", code).stdout == "False\n"


def test_what_a_package_adds_is_used(python: Run, tmp_path: Path) -> None:
    code = (
        "import random; from nas import samplers; from search_spaces.space_file import load_space\n"
        "space = load_space('halves'); genotype = space.sample(random.Random(0)); assert genotype.blocks[0].kind == 'halve'\n"
        "print(samplers.make('lots', None, 0)); open('network.txt', 'w').write(genotype.text)"
    )
    done = python("-c", code)
    assert done.returncode == 0 and "RandomSampler" in done.stdout, done.stderr
    flags = ("--from-scratch", "--recipe", "proxy", "--epochs", 1, "--to", tmp_path / "trained")
    done = python("-m", "nas", "train", "network.txt", "--data", "two-greys", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "noise that is made up" in done.stdout and list((tmp_path / "trained").rglob("weights.safetensors"))


@pytest.mark.slow
def test_what_a_package_adds_passes_the_suites(python: Run) -> None:
    checks = "check_block('halve'); check_dataset('two-greys'); check_sampler('lots'); check_space('halves')"
    done = python("-c", f"from nas.testing import check_block, check_dataset, check_sampler, check_space; {checks}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[compact_nas.samplers]\nrandom = theirs.lots\n", 'two packages provide the sampler "random": compact-nas and others'),
        ("[compact_nas.samplers]\nlots = theirs.lots\n", 'two packages provide the sampler "lots": '),
        (
            "[compact_nas.samplers]\nbad = theirs.absent\n",
            'the sampler "bad" of the package others cannot be used: theirs.absent',
        ),
    ],
)
def test_names_that_cannot_be_had_are_said(python: Run, site: Path, entries: str, message: str) -> None:
    install(site, "others", entries)
    code = "from nas import samplers; samplers.make('bad', None, 0)"
    error = python("-c", code).stderr.splitlines()[-1]
    assert error.startswith("search_spaces.errors.InputError: ") and message in error


def test_a_block_of_a_package_that_cannot_be_read_is_said(python: Run, site: Path) -> None:
    install(site, "others", "[compact_nas.blocks]\nbad = theirs.kinds\n")
    done = python("-m", "nas", "list", "blocks")
    assert done.returncode == 2
    assert done.stderr == (
        "nas: what the package others adds to blocks cannot be used: theirs.kinds: it has no class decorated with @block\n"
    )


def test_a_broken_evaluator_of_a_package_stops_only_searches_that_choose_it(python: Run, site: Path) -> None:
    install(site, "others", "[compact_nas.evaluators]\nworst = nowhere.worst\n")
    code = "from nas.executors import evaluators; evaluators.unused('{}'); print('fine')"
    assert python("-c", code.format("training")).stdout == "fine\n"
    done = python("-m", "nas", "search", "--latency-budget", "5ms", "--evaluator", "worst")
    assert done.returncode == 2 and 'the evaluator "worst" of the package others' in done.stderr
