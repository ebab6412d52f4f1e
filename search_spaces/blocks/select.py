"""select: channel selection by an index, as before CondenseNet's classifier."""

import torch
from torch import Tensor, nn

from search_spaces.registry import block


@block("select")
class Select(nn.Module):
    """Selects the channels listed in the buffer `index`.

    Initially the first channels, cycling if the output is wider. arXiv:1711.09224, ShichenLiu/CondenseNet layers.py.
    """

    index: Tensor

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.arange(c_out) % c_in)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.index)
