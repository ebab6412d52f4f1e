"""The suites of nas.testing: each fails on an addition with a fault, in words that name it."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators import zero_cost
from evaluators.data import _registry as datasets
from evaluators.latency import runtime as runtimes
from nas import samplers
from nas.testing import check_anchor, check_block, check_dataset, check_runtime, check_sampler, check_score, check_space
from search_spaces import registry
from search_spaces.anchor import Published, anchor
from search_spaces.errors import InputError
from search_spaces.plugins import Plugins, _Found

Added = Callable[[Plugins, str], str]
BLOCK = """from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.registry import block


@block("NAME")
class Mine(nn.Module):
    \"\"\"A convolution, scaled.\"\"\"

    def __init__(self, c_in: int, c_out: int, stride: int, *, kernel: Literal[1, 3] = 1, factor: float = 0.5) -> None:
        super().__init__()
        self.conv, self.factor = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.conv(x)
"""
DATA = """\"\"\"Grey noise.\"\"\"

import numpy as np

from evaluators.data.dataset import Found, Images


def read(path, download):
    \"\"\"Two classes of noise; takes no path\"\"\"
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    images = rng.integers(0, 240, (60, 8, 8)).astype(np.uint8)
    parts = [Images(images[i::3], labels[i::3]) for i in range(3)]
    return Found(("dark", "bright"), *parts, "noise that is made up")
"""
SAMPLER = """\"\"\"Random.\"\"\"

import optuna


class Mine(optuna.samplers.RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        return super().sample_independent(study, trial, name, distribution)


def sampler(pool, seed):
    return Mine(seed=seed)
"""
SPACE = """summary: convolutions
input: [3, 16, 16]
anchors: {mobilenet_v2: body.depth}
stages:
  - {name: body, width: [8, 16], depth: [1, 2], blocks: {conv: {kernel: [1, 3]}}}
  - {name: head, blocks: {head: {}}}
"""
RUNTIME = """\"\"\"Torch.\"\"\"

from evaluators.latency.runtimes import torch_eager

CLOCK, GRAPH, DTYPE, SUFFIX = "cpu", "eager", "float32", ".safetensors"
prepare = torch_eager.prepare


def version():
    return "1"


def load(path, threads=1):
    return torch_eager.load(path, threads)
"""


@pytest.fixture
def added(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Added:
    """Adds a module to plug-ins, as a package would, under the name that is given back."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(plugins: Plugins, text: str) -> str:
        name = "mine_" + re.sub(r"\W", "_", request.node.name)
        (tmp_path / f"{name}.py").write_text(text.replace("NAME", name))
        thing = dict(registry._kinds_in(name))[name] if plugins is registry._BLOCKS else name
        monkeypatch.setitem(vars(plugins), "_found", {**plugins._found, name: _Found(thing, "theirs")})
        return name

    return add


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def fails(check: Callable[[str], None], name: str, words: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check(name)
    message = f"{caught.value}"
    assert words in message and Path(name).stem in message, message


CONV, INIT = "self.conv(x)", "super().__init__()"
SUM = "self.factor * self.conv(x)"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CONV, "self.conv(x)[:, :, 1:]", "gives an output [2, "),
        ("A convolution, scaled.", "A convolution", "has no summary"),
        ("factor: float = 0.5", "factor: float = 1", "the default 1 is read as 1.0; write it as float"),
        (INIT, f"{INIT}\n        self.more = nn.Linear(3, 3)", "unused parameters: more.weight, more.bias"),
        (INIT, f"{INIT}\n        assert c_in > 30, 'too narrow'", "input channels cannot be built"),
        (SUM, f"{CONV} / 0", "gradients that are not finite"),
        (SUM, f"{CONV}.detach()", "without gradient"),
        (SUM, f"{CONV} * torch.rand(())", "another output for the same input in eval mode"),
        (SUM, "nn.functional.conv2d(x, self.conv.weight, None, self.conv.stride)", "unused parameters: conv.bias"),
        (SUM, f"{CONV} + nn.functional.conv2d(x, self.conv.weight, None, self.conv.stride)", "its modules have"),
        (SUM, f"torch.fft.fft({CONV}).real", "cannot be exported to ONNX"),
    ],
)
def test_a_faulty_block(added: Added, old: str, new: str, words: str) -> None:
    text = changed(BLOCK.replace("Literal[1, 3]", "Literal[1]"), old, new)
    fails(check_block, added(registry._BLOCKS, text), words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("images[i::3]", "images[i % 2 :: 3]", "20 images are in two parts"),
        ("labels[i::3]", "labels[i::3] + 1", "labels must be 0 to 1, not 1 to 2"),
        ("labels[i::3]", "labels[i::3] * (i > 0)", "its training set has no image of bright"),
        ("labels[i::3]", "labels[i::3].astype(np.int32)", "labels must be int64 [N], not int32"),
        ("labels[i::3]", "labels[:3]", "training set has 20 images and 3 labels"),
        ("astype(np.uint8)", "astype(float)", "images must be uint8 [N, H, W] or [N, H, W, 3], not float64 [20, 8, 8]"),
        ("default_rng(0)", "default_rng()", "different images, labels or names when it is read again"),
        ('("dark", "bright")', '("dark", "dark")', "its classes must be two or more"),
        ("return Found", "return tuple", "its reader returns tuple, not Found"),
        ("Two classes of noise; takes no path", "Noise", 'has the summary "Noise"'),
    ],
)
def test_a_faulty_data_set(added: Added, old: str, new: str, words: str) -> None:
    text = changed(DATA, old, new).replace('tuple(("dark", "bright"), *parts, "noise that is made up")', "tuple(parts)")
    fails(check_dataset, added(datasets._SETS, text), words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return super().sample_independent(study, trial, name, distribution)", "return -1", "an invalid value"),
        ("Mine(seed=seed)", "Mine()", "a search resumed after 5 trials makes different proposals, from proposal 0 on"),
        ("return super()", "study.get_trials() and study.direction\n        return super()", "objectives accuracy and macs: "),
    ],
)
def test_a_faulty_sampler(added: Added, old: str, new: str, words: str) -> None:
    fails(check_sampler, added(samplers._SAMPLERS, changed(SAMPLER, old, new)), words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("body.depth", "inside", "its file says of the anchor mobilenet_v2: inside; it is not: "),
        ("summary: convolutions", 'summary: ""', "has no summary"),
        ("{head: {}}", "{head: {pixelwise: yes, hidden: 8}}", "a pixelwise head has neither hidden layers nor a pool"),
    ],
)
def test_a_faulty_space(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(changed(SPACE, old, new))
    fails(check_space, f"{path}", words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("torch_eager.load(path, threads)", "lambda: [0.0] * 10", "its logits differ from torch's by 1 of the largest"),
        ('"cpu"', '"sun"', "CLOCK must be one of"),
        ('"float32"', '"int4"', "DTYPE must be one of"),
        ('return "1"', 'return ""', "has no version"),
    ],
)
def test_a_faulty_runtime(added: Added, old: str, new: str, words: str) -> None:
    fails(check_runtime, added(runtimes._RUNTIMES, changed(RUNTIME, old, new)), words)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"macs": 1}, "its file states (params, macs) (1235496, 1), its modules have (1235496, "),
        ({"paper": ""}, "needs a family, a paper"),
        ({"weights": {"me": "stem"}}, "weights of me have 1 names for 26 layers"),
        ({"published": Published(9.0, None, None, "a paper")}, "9.0 million parameters are published, 1235496 counted"),
    ],
)
def test_a_faulty_anchor(monkeypatch: pytest.MonkeyPatch, fault: dict[str, object], words: str) -> None:
    monkeypatch.setattr("nas.testing.anchors.anchor", lambda name: replace(anchor(name), **fault))
    fails(check_anchor, "squeezenet:1.1", words)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("float('nan')", "is nan, not a finite number"),
        ("float(images[0, 0, 0, 0] + torch.rand(()))", "draws from torch's global generator"),
        ("len(list(network.train().parameters()))", "changes the network's mode"),
        ("float(next(network.parameters()).data.mul_(2).sum())", "when computed again"),
        ("len(list(network.blocks[0].train(False)(images)))", "changes the network's mode"),
        ("network(images).sum().backward() or 0.0", "leaves gradients behind"),
    ],
)
def test_a_faulty_score(added: Added, returned: str, words: str) -> None:
    text = f"import torch\n\n\ndef score(network, images, labels, generator):\n    return {returned}\n"
    fails(check_score, added(zero_cost._SCORES, text), words)


EVERY = [check_anchor, check_block, check_dataset, check_runtime, check_sampler, check_score, check_space]


@pytest.mark.parametrize("check", EVERY)
def test_what_is_not_there_is_an_input_error(check: Callable[[str], None]) -> None:
    with pytest.raises(InputError, match=r"there is no .*absent"):
        check("absent")


def test_importing_the_suites_imports_nothing_heavy_and_no_pytest() -> None:
    code = "import sys, nas.testing; print({'torch', 'numpy', 'optuna', 'pytest'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
