"""Channel shuffle (arXiv:1707.01083): mixes channels across groups; Reshape, Transpose, Reshape in ONNX."""

import torch
from torch import Tensor


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Shuffles the channels of [N, C, H, W]: channel j of group i moves to j * groups + i.

    C is at least `groups`; the last C mod `groups` channels stay in place. Preserves channels_last.
    """
    c, h, w = x.shape[1:]
    rest = c % groups
    if rest:
        return torch.cat([channel_shuffle(x[:, :-rest], groups), x[:, -rest:]], 1)
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        pixels = x.permute(0, 2, 3, 1)
        return pixels.reshape(-1, h, w, groups, c // groups).transpose(3, 4).reshape(-1, h, w, c).permute(0, 3, 1, 2)
    return x.reshape(-1, groups, c // groups, h, w).transpose(1, 2).reshape(-1, c, h, w)
