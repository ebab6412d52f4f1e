"""A source of jobs whose trainings are also written to TensorBoard event files."""

from nas.executors.job import EpochReport, Job, Source
from nas.run.tensorboard import EventFiles
from search_spaces.genotype import Genotype


class Recorded:
    """Passes everything on to `source`; the event files are named GROUP/NETWORK, or GROUP/NETWORK/K for a further seed."""

    def __init__(self, source: Source, events: EventFiles, group: str) -> None:
        self._source, self._events, self._group = source, events, group

    def next(self) -> Job | None:
        return self._source.next()

    def progress(self, job: Job, progress: EpochReport) -> bool:
        if progress.epoch:
            self._events.epoch(self._name(job), progress.epoch, progress)
        return self._source.progress(job, progress)

    def done(self, job: Job) -> None:
        self._events.end(self._name(job))
        self._source.done(job)

    def failed(self, job: Job, reason: str) -> None:
        self._events.end(self._name(job))
        self._source.failed(job, reason)

    def _name(self, job: Job) -> str:
        _, _, anchor = job.label.partition("anchor:")
        _, _, seed = job.id.partition("/")
        return "/".join(filter(None, (self._group, anchor or Genotype.parse(job.genotype).id, seed)))
