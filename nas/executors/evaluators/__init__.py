"""Evaluators of candidates. One file each, `NAME.py`, a module with the attributes of `Evaluator`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from nas.run.config import EVALUATORS

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run


class Evaluator(Protocol):
    """A module of this folder; heavy imports belong in `executor`.

    OPTIONS: fields of SearchConfig that only this evaluator uses; they are refused with another evaluator. HOW: a clause for
    error messages that says how candidates are evaluated, and so why other evaluators' options have no effect. DOES: what
    `--evaluator NAME` does, in two or three words, as a hint in such messages; may be empty.

    TRAINS: whether candidates are trained with the recipe, inheriting from the donor if any; networks outside the space can
    then be evaluated too. Otherwise a candidate has a single epoch whose accuracy is its score.
    """

    OPTIONS: tuple[str, ...]
    TRAINS: bool
    HOW: str
    DOES: str

    def executor(self, run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
        """Executor of candidates' jobs; creating it may add a phase, shown in `view`.

        `trainer` returns the executor that trains the run's other networks; both are closed at the end.
        """


def summaries() -> dict[str, str]:
    """One-line description of each evaluator, by name, without importing them."""
    return EVALUATORS.summaries()


def load(name: str) -> Evaluator:
    """Load an evaluator by name; raises InputError with a suggestion."""
    return cast(Evaluator, EVALUATORS.load(name))


def unused(name: str) -> dict[str, tuple[bool, str]]:
    """Options of single evaluators: whether evaluator `name` ignores them, and why.

    Other packages' evaluators, which may be broken, are imported only if chosen; SearchConfig has no options of theirs alone.
    """
    chosen, found = load(name), dict[str, tuple[bool, str]]()
    for other in EVALUATORS.own():
        owner = load(other)
        hint = f"; --evaluator {other} {owner.DOES}" if owner.DOES else ""
        found |= {option: (option not in chosen.OPTIONS, chosen.HOW + hint) for option in owner.OPTIONS}
    return found
