"""Compares the logits of a deployed network with torch's."""

import copy

import numpy as np
import torch
from torch import Tensor, nn


def difference(logits: object, network: nn.Module, image: Tensor) -> float:
    """The largest difference of `logits`, of a runtime for one image [1, C, H, W], from torch's, relative to the largest logit.

    NaN if `logits`, an array or a tensor, contains NaN. Raises ValueError if it has not one number per class.
    """
    reference = copy.deepcopy(network).cpu().float().eval()
    with torch.no_grad():
        expected = reference(image).numpy().reshape(-1)
    found = np.asarray(logits).reshape(-1)
    if found.shape != expected.shape:
        raise ValueError(f"{found.size} logits, but {expected.size} classes")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
