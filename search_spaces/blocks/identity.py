"""identity: the parameter-free shortcut of the CIFAR ResNets (option A)."""

from torch import Tensor, nn
from torch.nn.functional import pad

from search_spaces.registry import block


@block("identity")
class Identity(nn.Module):
    """Strided subsampling; zero-pads or crops channels, at both ends, if widths differ.

    arXiv:1512.03385, section 3.3.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.front = (c_out - c_in) // 2
        self.behind = c_out - c_in - self.front

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return pad(x, (0, 0, 0, 0, self.front, self.behind))
