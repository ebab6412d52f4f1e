"""Text of every kind of block at each of its strides, as it may stand in a network of small maps, and pictures for it."""

import torch

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build_block
from search_spaces.registry import BlockKind, block_kinds

WIDTH = 24
# what a block with branches may hold: any blocks, or residual blocks in a row
_BRANCHES = (
    "\n  | conv {width}/{stride}\n  | conv {width}/{stride} kernel=1",
    "\n  | add\n      | conv {width}/{stride}\n      | conv {width}/{stride}\n    add\n      | conv {width}/1\n      |",
)


def every_block() -> dict[str, str]:
    """Genotype text of a block by the name of its kind and stride; heads, which end a network, left out."""
    bodies = [kind for kind in block_kinds().values() if "classes" not in kind.takes]
    return {f"{kind.name}/{stride}": _text(kind, stride) for kind in bodies for stride in _strides(kind)}


def picture(*shape: int) -> torch.Tensor:
    """Noise of a shape [N, C, H, W] in channels_last, that a gradient is wanted of."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()


def _strides(kind: BlockKind) -> tuple[int, ...]:
    return (1, 2) if kind.has_branches else kind.strides


def _text(kind: BlockKind, stride: int) -> str:
    if kind.has_branches:
        forms = [kind.name + branches.format(width=WIDTH, stride=stride) for branches in _BRANCHES]
        return next(form for form in forms if _builds(form))
    size = (str(WIDTH) if kind.has_width else "") + (f"/{stride}" if kind.has_stride else "")
    return f"{kind.name} {size}".strip()


def _builds(text: str) -> bool:
    try:
        with torch.device("meta"):
            return bool(build_block(Genotype.parse(f"{text}\nhead").blocks[0], WIDTH, 10))
    except InputError:
        return False
