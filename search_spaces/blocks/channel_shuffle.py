"""channel_shuffle: ShuffleNetV1's channel shuffle between grouped convolutions."""

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.registry import block


@block("channel_shuffle")
class ChannelShuffle(nn.Module):
    """Channel shuffle across `groups` groups; keeps the width. arXiv:1707.01083."""

    def __init__(self, c_in: int, *, groups: int = 2) -> None:
        super().__init__()
        if groups < 1:
            raise InputError(f"groups must be 1 or more, not {groups}")
        self.groups = min(groups, c_in)

    def forward(self, x: Tensor) -> Tensor:
        return channel_shuffle(x, self.groups)
