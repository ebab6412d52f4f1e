"""check_score: test suite for a zero-cost score."""

import math
from collections.abc import Iterator
from typing import get_args

import torch
from torch import Tensor

from evaluators.zero_cost import modules
from nas.testing.networks import block_texts
from nas.testing.said import said
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build
from search_spaces.ops.activation import Act
from search_spaces.registry import block_kinds
from search_spaces.task import Task

TASK = Task((3, 16, 16), 10)
_IMAGES = 6
_HEADS = ("head hidden=16", "head hidden=16 norm=yes act=relu", "head pool=2 dropout=0.5", "head pixelwise=yes act=relu")

State = tuple[dict[str, Tensor], list[bool], list[Tensor | None]]  # tensors by name, training modes, gradients


def check_score(score: str) -> None:
    """Check the zero-cost score `score`; raises AssertionError that says what is wrong.

    For networks with every kind of block, activation and head, in training and eval mode, it must be finite and reproducible
    with the same generator, and must not change parameters, buffers, gradients, mode or torch's global generator.
    Raises InputError if there is no such score.
    """
    score_of = modules([score])[score].score
    images = torch.randn(_IMAGES, *TASK.input, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(_IMAGES) % TASK.classes
    for text in _texts():
        where = f'score {score} of "{"; ".join(text.splitlines())}"'
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(Genotype.parse(text), TASK).train("act=" in text)
            before, drawn = _state(network), torch.get_rng_state()
            with said(where):
                first, second = (score_of(network, images, labels, torch.Generator().manual_seed(0)) for _ in range(2))
            assert torch.equal(drawn, torch.get_rng_state()), f"{where} draws from torch's global generator"
        assert math.isfinite(first), f"{where} is {first}, not a finite number"
        assert first == second, f"{where} is {first}, but {second} when computed again"
        _check_state(before, _state(network), where)


def _texts() -> Iterator[str]:
    """Genotype texts with every kind of block, every activation, and various heads."""
    bodies = [text for kind in block_kinds().values() if "classes" not in kind.takes for text in block_texts(kind).values()]
    acts = [f"inverted_residual 24/1 act={act} se=0.25" for act in get_args(Act)]
    yield from (f"conv 24/1\n{body}\nhead" for body in [*bodies, *acts])
    yield from (f"conv 24/2\n{head}" for head in _HEADS)


def _state(network: Network) -> State:
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return tensors, [module.training for module in network.modules()], [p.grad for p in network.parameters()]


def _check_state(before: State, after: State, where: str) -> None:
    changed = [name for name, tensor in before[0].items() if not torch.equal(tensor, after[0][name])]
    assert not changed, f"{where} changes {', '.join(changed)}"
    assert before[1] == after[1], f"{where} changes the network's mode"
    assert before[2] == after[2], f"{where} leaves gradients behind"
