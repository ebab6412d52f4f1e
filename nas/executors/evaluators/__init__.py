"""Evaluators: what rates candidates. One file each, `NAME.py`, which has what `Evaluator` says."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from nas.run.config import EVALUATORS

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run


class Evaluator(Protocol):
    """A module of this folder; what is heavy it imports in `executor` alone.

    OPTIONS: the fields of SearchConfig that this evaluator reads and others do not; they are refused where one of those others
    rates. HOW: what becomes of candidates, in a sentence that says why the options of others have no effect. DOES: what
    `--evaluator NAME` does, in two or three words, for those who gave an option of this one to another; empty to say nothing.

    TRAINS: whether candidates are trained by the recipe, as all other networks are, from the donor if there is one; networks
    outside the space are then rated, too. Otherwise a candidate is one epoch whose accuracy is its score.
    """

    OPTIONS: tuple[str, ...]
    TRAINS: bool
    HOW: str
    DOES: str

    def executor(self, run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
        """What carries out the jobs of candidates; making it may take a phase of its own, shown in `view`.

        `trainer` gives what trains the run's other networks; both are closed at the end.
        """


def summaries() -> dict[str, str]:
    """One line about each evaluator, by name; imports none of them."""
    return EVALUATORS.summaries()


def load(name: str) -> Evaluator:
    """The evaluator called `name`; raises InputError with the near miss."""
    return cast(Evaluator, EVALUATORS.load(name))


def unused(name: str) -> dict[str, tuple[bool, str]]:
    """The options of evaluators: whether the one called `name` leaves them unread, and why they then have no effect."""
    chosen, found = load(name), dict[str, tuple[bool, str]]()
    for other in EVALUATORS.names():
        owner = load(other)
        hint = f"; --evaluator {other} {owner.DOES}" if owner.DOES else ""
        found |= {option: (option not in chosen.OPTIONS, chosen.HOW + hint) for option in owner.OPTIONS}
    return found
