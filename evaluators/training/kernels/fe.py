"""FE-Net's units: weights are renumbered in place of maps."""

from torch import Tensor
from torch.func import functional_call

from search_spaces.blocks.fe import Unit


class FastUnit(Unit):
    """While training, the same result with the weights renumbered instead of the feature maps, which are larger by far."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and (order := self.order())):
            return super().forward(x)
        state = self.renumbered(order)
        y = functional_call(self, state, x)
        for name, buffer in self.named_buffers():
            if name in state:
                buffer[order,] = state[name]
        return y  # type: ignore[no-any-return]
