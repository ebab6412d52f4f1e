"""The search: its stages in order; every step is kept in the journal and taken once."""

from nas.pipeline.stages import stages
from nas.pipeline.stages.restore import lost
from nas.pipeline.state import State
from nas.records import Finished, Survey
from nas.run.notes import now


class Search:
    """One session of a run: started, or resumed. What a survey of the space found is kept for the result."""

    def __init__(self, state: State, found: Survey | None = None) -> None:
        self.state = state
        if found and not state.study.records(Survey):
            state.study.note(found, "space")

    def run(self) -> None:
        """All that is not in the journal yet, and what lost its weights; raises InputError for what a person can mend."""
        state = self.state
        finished = bool(state.study.records(Finished))
        if finished and not lost(state):
            return
        try:
            for stage in stages():
                if stage.MENDS or not finished:
                    stage.run(state)
            if not finished:
                state.study.note(Finished(at=now()), "run")
        finally:
            state.close()
