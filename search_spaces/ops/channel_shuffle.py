"""Channel shuffle (arXiv:1707.01083): mixes the channels of groups; Reshape, Transpose, Reshape in ONNX."""

import torch
from torch import Tensor


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """[N, C, H, W] with channels taken from the groups in turn: channel j of group i moves to j * groups + i.

    C is at least `groups`; the C mod `groups` channels at the end that fill no whole row stay where they are. Maps in
    channels_last order stay in it.
    """
    c, h, w = x.shape[1:]
    rest = c % groups
    if rest:
        return torch.cat([channel_shuffle(x[:, :-rest], groups), x[:, -rest:]], 1)
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        pixels = x.permute(0, 2, 3, 1)
        return pixels.reshape(-1, h, w, groups, c // groups).transpose(3, 4).reshape(-1, h, w, c).permute(0, 3, 1, 2)
    return x.reshape(-1, groups, c // groups, h, w).transpose(1, 2).reshape(-1, c, h, w)
