"""Channel shuffle (arXiv:1707.01083): mixes the channels of groups; Reshape, Transpose, Reshape in ONNX."""

import torch
from torch import Tensor


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """[N, C, H, W] with channels taken from the groups in turn: channel j of group i moves to j * groups + i.

    C is at least `groups`; the C mod `groups` channels at the end that fill no whole row stay where they are.
    """
    c, h, w = x.shape[1:]
    rest = c % groups
    if rest:
        return torch.cat([channel_shuffle(x[:, :-rest], groups), x[:, -rest:]], 1)
    return x.reshape(-1, groups, c // groups, h, w).transpose(1, 2).reshape(-1, c, h, w)
