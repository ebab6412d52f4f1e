"""lrn, dropout: regularisation in networks that predate batch norm."""

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.registry import block


@block("lrn")
class Lrn(nn.Module):
    """Local response normalisation over five channels with AlexNet's constants; keeps the width.

    x / (1 + 1e-4 mean of x^2 over the five)^0.75, as in Caffe and torch. Krizhevsky et al., NIPS 2012, section 3.3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)  # type: ignore[no-any-return]


@block("dropout")
class Dropout(nn.Module):
    """Dropout with probability `rate`; keeps the width."""

    def __init__(self, *, rate: float = 0.5) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError("rate must be 0 or more and below 1")
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x)  # type: ignore[no-any-return]
