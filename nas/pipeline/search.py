"""The search: its stages in order; every step is kept in the journal and taken once."""

from typing import Any

from nas.pipeline.stages import stages
from nas.pipeline.stages.restore import lost
from nas.pipeline.state import State
from nas.run.records import now


class Search:
    """One session of a run: started, or resumed. `survey` is what the space can reach, which is kept for the result."""

    def __init__(self, state: State, survey: dict[str, Any] | None = None) -> None:
        self.state = state
        if survey and not state.study.notes("reach"):
            state.study.note("reach:space", survey)

    def run(self) -> None:
        """All that is not in the journal yet, and what lost its weights; raises InputError for what a person can mend."""
        state = self.state
        finished = bool(state.study.notes("finished"))
        if finished and not lost(state):
            return
        try:
            for stage in stages():
                if stage.MENDS or not finished:
                    stage.run(state)
            if not finished:
                state.study.note("finished:run", {"at": now()})
        finally:
            state.close()
