"""Every anchor passes its suite; how anchors are found."""

import pytest

from nas.testing import check_anchor
from search_spaces.anchor import anchor, anchor_names
from search_spaces.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("name", anchor_names())
def test_every_anchor_is_what_a_search_needs(name: str) -> None:
    check_anchor(name)


def test_a_default_variant_is_found_with_and_without_its_name() -> None:
    assert anchor("mobilenet_v3:large") == anchor("mobilenet_v3") != anchor("mobilenet_v3:small")


def test_a_wrong_name_is_answered_with_the_near_miss() -> None:
    with pytest.raises(InputError, match='there is no anchor "mobilenet_v5"; did you mean "mobilenet_v'):
        anchor("mobilenet_v5")
