"""The donor of a run or training, as it was asked for."""

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.run.config import donor_anchor
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from evaluators.inheritance.donor import Donor


def donor_for(weights: str | None, from_scratch: bool, download: bool) -> "Donor | None":
    """The donor that was asked for, or the one that is installed; none where all begins at random."""
    from evaluators.inheritance.find import find_donor

    if not from_scratch:
        return find_donor(weights, download=download)
    if weights:
        raise InputError("--weights and --from-scratch contradict each other; give one of them")
    return None


def inheriting(space: SearchSpace, donor: "Donor | None") -> SearchSpace:
    """A space whose networks inherit: they pad as the donor does, and it stands among the hand-designed ones."""
    if donor is None:
        return space
    return replace(space.with_anchors(donor_anchor(donor.name)), padding=donor.padding)
