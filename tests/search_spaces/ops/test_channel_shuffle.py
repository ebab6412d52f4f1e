"""Channel shuffle: torch's own, in both memory formats, whose order it keeps."""

import pytest
import torch

from search_spaces.ops.channel_shuffle import channel_shuffle


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "groups", "size"), [(8, 2, 5), (12, 3, 4), (6, 2, 1), (4, 4, 3)])
def test_it_is_torchs_own_and_keeps_the_order_of_its_input(layout, channels, groups, size):
    x = torch.arange(2.0 * channels * size * size).view(2, channels, size, size).contiguous(memory_format=layout)
    found = channel_shuffle(x, groups)
    assert torch.equal(found, torch.nn.ChannelShuffle(groups)(x.contiguous()))
    assert found.is_contiguous(memory_format=layout)


def test_channels_that_fill_no_row_stay():
    x = torch.randn(2, 7, 3, 3).contiguous(memory_format=torch.channels_last)
    found = channel_shuffle(x, 2)
    assert torch.equal(found[:, 6], x[:, 6]) and torch.equal(found[:, :6], torch.nn.ChannelShuffle(2)(x[:, :6].contiguous()))
