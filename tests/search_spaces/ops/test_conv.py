"""Depthwise convolution on small maps against torch's own; the rounding of widths against torchvision's."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torchvision.models._utils import _make_divisible

from search_spaces.ops.conv import DepthwiseConv2d, make_divisible


@pytest.mark.parametrize(("kernel", "stride", "dilation"), itertools.product((1, 3, 5, 7), (1, 2), (1, 2, 3, 4)))
def test_taps_outside_the_map_are_left_out_without_a_difference(kernel, stride, dilation):
    torch.manual_seed(0)
    module = DepthwiseConv2d(4, kernel, stride, dilation).double().train()
    padding = dilation * (kernel // 2)
    for height, width in itertools.product((1, 2, 3, 4, 7), repeat=2):
        x = torch.randn(2, 4, height, width, dtype=torch.float64, requires_grad=True)
        ours, theirs = module(x), F.conv2d(x, module.weight, None, stride, padding, dilation, 4)
        gradient = torch.randn_like(theirs)
        ours_back = torch.autograd.grad(ours, (x, module.weight), gradient)
        theirs_back = torch.autograd.grad(theirs, (x, module.weight), gradient)
        for a, b in zip((ours, *ours_back), (theirs, *theirs_back), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("divisor", [4, 8, 16])
def test_widths_are_rounded_as_torchvision_does(divisor):
    for value in (x / 7 for x in range(1, 3000)):
        assert make_divisible(value, divisor) == _make_divisible(value, divisor)
