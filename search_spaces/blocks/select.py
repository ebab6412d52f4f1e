"""select: some of the channels, picked by an index, as CondenseNet's classifier reads them."""

import torch
from torch import Tensor, nn

from search_spaces.registry import block


@block("select")
class Select(nn.Module):
    """The channels that the buffer `index` lists.

    It starts as the first ones, from the first again after the last where more are asked for than there are.
    arXiv:1711.09224, ShichenLiu/CondenseNet layers.py.
    """

    index: Tensor

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.arange(c_out) % c_in)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.index)
