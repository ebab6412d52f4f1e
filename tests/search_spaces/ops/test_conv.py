"""The rounding of widths against torchvision's."""

import pytest
from torchvision.models._utils import _make_divisible

from search_spaces.ops.conv import make_divisible


@pytest.mark.parametrize("divisor", [4, 8, 16])
def test_widths_are_rounded_as_torchvision_does(divisor):
    for value in (x / 7 for x in range(1, 3000)):
        assert make_divisible(value, divisor) == _make_divisible(value, divisor)
