"""Search: runs the stages in order; finished steps are in the journal and are not repeated."""

from nas.pipeline.stages import stages
from nas.pipeline.stages.restore import lost
from nas.pipeline.state import State
from nas.records import Finished, Survey
from nas.run.notes import now


class Search:
    """One session of a run, new or resumed; `found` is the survey of the space, stored for the result."""

    def __init__(self, state: State, found: Survey | None = None) -> None:
        self.state = state
        if found and not state.study.records(Survey):
            state.study.note(found, "space")

    def run(self) -> None:
        """Do everything that is not in the journal yet, and retrain lost weights; raises InputError for user errors."""
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
