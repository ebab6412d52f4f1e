"""Find the donor of a run or training."""

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.run.config import donor_anchor
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from evaluators.inheritance.donor import Donor


def donor_for(weights: str | None, from_scratch: bool, download: bool) -> "Donor | None":
    """The requested donor, or the installed one; None with `from_scratch`."""
    from evaluators.inheritance.find import find_donor

    if not from_scratch:
        return find_donor(weights, download=download)
    if weights:
        raise InputError("--weights and --from-scratch are mutually exclusive; give one of them")
    return None


def inheriting(space: SearchSpace, donor: "Donor | None") -> SearchSpace:
    """The space with the donor's padding rule, and the donor among its anchors."""
    if donor is None:
        return space
    return replace(space.with_anchors(donor_anchor(donor.name)), padding=donor.padding)
