"""The rules by which papers and libraries count params and MACs, for comparison with published figures."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evaluators.cost import ELEMENTWISE, LINEAR, cost, macs
from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import Genotype
from search_spaces.task import Task

Rule = Callable[[Genotype, Task], int]
_ACTIVATIONS = ELEMENTWISE - {"native_batch_norm", "add", "sub", "mul", "div"}


def params_all(genotype: Genotype, task: Task) -> int:
    """All trainable parameters, including the scale and shift of batch norm."""
    return cost(genotype, task).params


def params_without_norm(genotype: Genotype, task: Task) -> int:
    """All trainable parameters except those of batch norm."""
    import torch
    from torch import nn

    from search_spaces.network import build

    with torch.device("meta"):
        network = build(genotype, task)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return params_all(genotype, task) - sum(p.numel() for m in norms for p in m.parameters())


def macs_conv_fc(genotype: Genotype, task: Task) -> int:
    """MACs of convolutions and linear layers."""
    return cost(genotype, task).macs


def macs_conv(genotype: Genotype, task: Task) -> int:
    """MACs of convolutions only."""
    from evaluators.graph import network_graph

    nodes = (data for _, data in network_graph(genotype, task).nodes(data=True))
    return sum(macs(data) for data in nodes if data["op"] not in LINEAR)


def macs_twice(genotype: Genotype, task: Task) -> int:
    """Multiplications and additions of convolutions and linear layers, counted separately (FLOPs)."""
    return 2 * macs_conv_fc(genotype, task)


def macs_and_operations(genotype: Genotype, task: Task) -> int:
    """MACs of convolutions and linear layers, plus biases of linear layers, outputs of activations, inputs of average pooling.

    Source: ShichenLiu/CondenseNet, measure_layer in utils.py.
    """
    from evaluators.graph import network_graph

    nodes = (data for _, data in network_graph(genotype, task).nodes(data=True))
    return macs_conv_fc(genotype, task) + sum(map(_operations_besides_macs, nodes))


def _operations_besides_macs(node: Mapping[str, Any]) -> int:
    if node["op"] in _ACTIVATIONS or node["op"] == "addmm":
        return math.prod(node["shape"])
    if node["op"] == "avg_pool2d":
        return math.prod(node["shape"]) * math.prod(node["kernel"])
    return math.prod(node["inputs"][0]) if node["op"] == "mean" else 0


def macs_with_shifts(genotype: Genotype, task: Task) -> int:
    """MACs of convolutions and linear layers, plus 4 per element that an active shift interpolates (arXiv:1806.07370)."""
    import torch
    from torch import nn

    from search_spaces.network import build
    from search_spaces.ops.active_shift import ActiveShift

    elements: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        elements.append(output.numel())

    with torch.device("meta"):
        network = build(genotype, task).eval()
        for module in network.modules():
            if isinstance(module, ActiveShift):
                module.register_forward_hook(count)
        network(torch.empty(1, *task.input))
    return macs_conv_fc(genotype, task) + 4 * sum(elements)


PARAMS_RULES: Mapping[str, Rule] = MappingProxyType({"all": params_all, "without norm": params_without_norm})
MACS_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "conv+fc": macs_conv_fc,
        "conv": macs_conv,
        "2 x conv+fc": macs_twice,
        "conv+fc+4 shift": macs_with_shifts,
        "conv+fc+act+pool": macs_and_operations,
    }
)


def rule(rules: Mapping[str, Rule], name: str) -> Rule:
    """The rule called `name`; raises InputError that suggests the closest name."""
    if name not in rules:
        raise InputError(f'there is no counting rule "{name}"{near_miss(name, rules)}')
    return rules[name]


def agrees(printed_m: float, counted: int) -> bool:
    """Whether `counted` differs from `printed_m` millions by less than one unit of the last printed digit.

    Papers round, truncate, and (ShuffleNetV2 0.5) round up.
    """
    return abs(counted / 1e6 - printed_m) < _last_digit(printed_m)


def _last_digit(printed: float) -> float:
    """The place value of the last printed digit: .01 for 3.47, 1 for 300, 100 for 1400 (trailing zeros count below 1000)."""
    text = f"{printed:g}" if printed < 1e6 else str(int(printed))
    if "." in text:
        return float(10.0 ** -len(text.partition(".")[2]))
    zeros = len(text) - len(text.rstrip("0"))
    return float(10.0**zeros) if printed >= 1000 else 1.0
