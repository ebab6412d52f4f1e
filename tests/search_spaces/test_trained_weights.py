"""AS-ResNet-w32 with the weights that its authors trained gives the logits of their network."""

from pathlib import Path

import torch

from search_spaces.anchor import anchor
from search_spaces.weights import load_pretrained

WEIGHTS = Path(__file__).parents[1] / "data" / "as_resnet_w32" / "weights.npz"
# of the authors' Caffe network on the image below, printed to five decimals
FIRST_LOGITS = (-1.84773, 2.27453, -0.55162, -1.16435, 0.86820)
CLASS = 818


def golden_image() -> torch.Tensor:
    """Channels g (rows), g (columns) and sin(3 g) cos(3 g'), with g from -2 to 2."""
    g = torch.linspace(-2, 2, 224, dtype=torch.float64)
    rows, cols = torch.meshgrid(g, g, indexing="ij")
    return torch.stack([rows, cols, torch.sin(3 * rows) * torch.cos(3 * cols)])[None]


def test_golden_logits() -> None:
    network = load_pretrained(anchor("as_resnet"), WEIGHTS).double()
    with torch.no_grad():
        logits = network(golden_image())[0]
    assert int(logits.argmax()) == CLASS
    assert (logits[:5] - torch.tensor(FIRST_LOGITS, dtype=torch.float64)).abs().max() < 1e-4
