"""add, concat: parallel branches, summed or concatenated, for residual, dense and inception blocks."""

from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import activation
from search_spaces.registry import block

Act = Literal["none", "relu", "relu6", "hard_swish", "swish"]


class _Branches(nn.Module):
    """Branches with a shared input; `image` is the network's input, for branches that read it."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        if len(branches) < 2:
            raise InputError("at least two branches are needed; an empty one is the identity")
        self.branches = nn.ModuleList(branches)
        self.reads_image = any(branch.reads_image for branch in branches)

    def outputs(self, x: Tensor, image: Tensor | None) -> list[Tensor]:
        return [branch(x, image) for branch in self.branches]


@block("add")
class Add(_Branches):
    """Sum of branches, activation.

    Branches have equal widths; an empty one is the identity. arXiv:1512.03385.
    """

    def __init__(self, branches: list[nn.Module], *, act: Act = "none") -> None:
        super().__init__(branches)
        self.act = activation(act, 0)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        first, *others = self.outputs(x, image)
        for other in others:
            first = first + other
        return self.act(first)  # type: ignore[no-any-return]


@block("concat")
class Concat(_Branches):
    """Concatenation of branches along channels, activation.

    An empty branch is the identity, as in a dense layer. arXiv:1409.4842, arXiv:1608.06993.
    """

    concatenates = True

    def __init__(self, branches: list[nn.Module], *, act: Act = "none") -> None:
        super().__init__(branches)
        self.act = activation(act, 0)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        return self.act(torch.cat(self.outputs(x, image), 1))  # type: ignore[no-any-return]
