"""Networks of torchvision and timm that anchors are compared with."""

from typing import Any

import timm
import torchvision
from torch import nn

from search_spaces.anchor import anchor, anchor_names

WITH_REFERENCE = [name for name in anchor_names() if anchor(name).reference]
# what their constructors take so that the network has the same parts
ARGUMENTS: dict[str, dict[str, Any]] = {"torchvision/googlenet": {"aux_logits": False, "init_weights": False}}


def reference_network(name: str) -> nn.Module:
    """The network called `torchvision/NAME` or `timm/NAME`, with random weights."""
    library, _, model = name.partition("/")
    make = {"torchvision": torchvision.models.get_model, "timm": timm.create_model}[library]
    return make(model, **ARGUMENTS.get(name, {}))  # type: ignore[no-any-return]


def randomise(network: nn.Module) -> None:
    """Batch norms that do something in evaluation too; no dropout, which is random."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            tensors: list[Any] = [module.weight, module.bias, module.running_mean, module.running_var]
            for tensor in tensors:
                nn.init.uniform_(tensor, 0.5, 1.5)
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
