"""Ahead: estimates candidates of the first proposals in the background, while the first networks are trained."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from nas.budget.estimate import Estimate
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


class _Closed(Exception):
    """The session ends."""


@contextmanager
def ahead(state: "State", evaluated: int) -> Iterator[None]:
    """Estimate candidates of the proposal after `evaluated` trials in a thread, until it is done or the block ends.

    Which candidates are proposed does not depend on it: estimates are the same, but their blocks are traced already.
    """
    closed = Event()

    def estimate(genotypes: Sequence[Genotype]) -> list[Estimate]:
        found = list[Estimate]()
        for genotype in genotypes:
            if closed.is_set():
                raise _Closed
            found += state.estimator.estimate([genotype])
        return found

    def prepare() -> None:
        try:
            state.study.prepare(estimate, evaluated)
        except _Closed:
            return

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        prepared = pool.submit(prepare)
        try:
            yield
        finally:
            closed.set()
    prepared.result()
