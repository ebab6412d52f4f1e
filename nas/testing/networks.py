"""Networks for the suites: every kind of block, weights as after training, and independent counts of params and MACs."""

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build, build_block
from search_spaces.registry import BlockKind
from search_spaces.task import Task

WIDTH = 24
# contents of a block with branches: any blocks, or residual blocks in sequence
_BRANCHES = (
    "\n  | conv {width}/{stride}\n  | conv {width}/{stride} kernel=1",
    "\n  | add\n      | conv {width}/{stride}\n      | conv {width}/{stride}\n    add\n      | conv {width}/1\n      |",
)


def block_texts(kind: BlockKind) -> dict[str, str]:
    """Genotype text of blocks of this kind, by KIND/STRIDE, for networks with small feature maps."""
    strides = (1, 2) if kind.has_branches else kind.strides
    return {f"{kind.name}/{stride}": _text(kind, stride) for stride in strides}


def _text(kind: BlockKind, stride: int) -> str:
    if kind.has_branches:
        forms = [kind.name + branches.format(width=WIDTH, stride=stride) for branches in _BRANCHES]
        return next((form for form in forms if _builds(form)), forms[0])
    size = (str(WIDTH) if kind.has_width else "") + (f"/{stride}" if kind.has_stride else "")
    return f"{kind.name} {size}".strip()


def _builds(text: str) -> bool:
    try:
        with torch.device("meta"):
            return bool(build_block(Genotype.parse(f"{text}\nhead").blocks[0], WIDTH, 10))
    except InputError:
        return False


def trained(genotype: Genotype, task: Task) -> Network:
    """A network whose batch norms have random scales of both signs, shifts and statistics, as after training."""
    network = build(genotype, task)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return network


def counted(genotype: Genotype, task: Task) -> tuple[int, int, int]:
    """(params, MACs, activations) of a network, counted by hooks on torch modules.

    MACs are those of convolutions and linear layers without biases, activations their output elements. On the meta device,
    gates have no values, so all blocks are counted.
    """
    with torch.device("meta"):
        network = build(genotype, task).eval()
    macs, activations = [], []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        macs.append(output.numel() * module.weight[0].numel())
        activations.append(output.numel())

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(hook)
    with torch.no_grad():
        network(torch.empty(1, *task.input, device="meta"))
    return sum(p.numel() for p in network.parameters()), sum(macs), sum(activations)
