"""Text of every kind of block at each of its strides, as it may stand in a network of small maps, and images for it."""

import torch

from nas.testing.networks import block_texts
from search_spaces.registry import block_kinds


def every_block() -> dict[str, str]:
    """Genotype text of a block by the name of its kind and stride; heads, which end a network, left out."""
    bodies = [kind for kind in block_kinds().values() if "classes" not in kind.takes]
    return {name: text for kind in bodies for name, text in block_texts(kind).items()}


def noise(*shape: int) -> torch.Tensor:
    """Noise of a shape [N, C, H, W] in channels_last, that a gradient is wanted of."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
