"""norm_act: batch norm and activation, for the end of pre-activated networks."""

from torch import Tensor, nn

from search_spaces.ops.activation import Act
from search_spaces.ops.norm_act import norm_act
from search_spaces.registry import block


@block("norm_act")
class NormAct(nn.Module):
    """Batch norm, activation; keeps the width."""

    def __init__(self, c_in: int, *, act: Act = "relu") -> None:
        super().__init__()
        self.layers = norm_act(c_in, act)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
