"""A block is one file, an anchor is one file: the tests pick up new ones that are dropped into the folders."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = '''"""halve: what a person might write."""

from torch import Tensor, nn

from search_spaces.registry import block


@block("halve")
class Halve(nn.Module):
    """A pointwise convolution, scaled."""

    def __init__(self, c_in: int, c_out: int, stride: int, *, factor: float = 0.5) -> None:
        super().__init__()
        self.conv, self.factor = nn.Conv2d(c_in, c_out, 1, stride), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.conv(x)
'''
ANCHOR = """# Mine: what a person might write.
family: Mine
paper: arXiv:0000.00000
default: "1"
compact: yes
variants:
  "1":
    input: [3, 32, 32]
    classes: 10
    genotype: |
      halve 16/2
      head
    published: {params_m: null, macs_m: null, top1: null, source: a test}
    exact: {params: 234, macs: 12448}
"""


@pytest.mark.slow
def test_a_dropped_block_and_anchor_are_tested(tmp_path: Path) -> None:
    for folder in ("search_spaces", "evaluators", "nas", "tests/search_spaces", "tests/helpers"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "search_spaces" / "blocks" / "halve.py").write_text(BLOCK)
    (tmp_path / "search_spaces" / "anchors" / "mine.yaml").write_text(ANCHOR)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = [f"tests/search_spaces/test_{name}.py" for name in ("blocks", "anchors")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rp", "-k", "halve or mine", *files]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    for test in ("search_needs[halve]", "search_needs[mine]"):
        assert any(line.endswith(test) for line in passed)
