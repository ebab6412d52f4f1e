"""Parts of a search that take no time: predictions, trainings, measurements and a view, all made up."""

import random
from dataclasses import asdict
from types import SimpleNamespace

import torch
from safetensors.torch import save_file

from evaluators.latency.timing.measure import Measurement
from nas.executors.job import EpochReport
from nas.records import Final, Timed
from search_spaces.genotype import Genotype
from search_spaces.network import build


class Predictor:
    """Every network is predicted at `ms` with a bound of `bound_ms`."""

    def __init__(self, ms=5.0, bound_ms=6.0):
        self.prediction = SimpleNamespace(ms=ms, bound_ms=bound_ms, extrapolated=0.0)

    def predict(self, genotype, task):
        return self.prediction

    def covered(self, genotypes, task):
        return [self.prediction for _ in genotypes]


class Executor:
    """Trains nothing: accuracies follow from the genotype alone, and so do probes where there is a donor."""

    def __init__(self, setting):
        self.setting = setting

    def run(self, source):
        while job := source.next():
            for epoch in range(0 if self.setting.donor else 1, 1 if job.probe_only else job.recipe.epochs + 1):
                if source.progress(job, self.progress(job, epoch)):
                    break
            if job.keep:
                torch.manual_seed(0)
                genotype = Genotype.parse(job.genotype)
                save_file(build(genotype, genotype.task(len(self.setting.dataset.classes))).state_dict(), job.keep)
            source.done(job)

    def progress(self, job, epoch):
        if epoch == 0:
            return EpochReport(0, 0.0, probe_of(job.genotype), 0.1, 0.5)
        return EpochReport(epoch, 1.0, accuracy_of(job.genotype), 0.1)

    def close(self):
        pass


class View:
    def __init__(self):
        self.lines = []

    def phase(self, title, total, done=0):
        self.lines.append(title)

    def step(self, line=""):
        self.lines.append(line)

    say = best = step

    def working(self, epochs):
        pass


class Timer:
    """`session_ms(genotype id)` and `check_ms(genotype id)` give milliseconds, or a Measurement; keeps what was asked.

    Every block takes as long as the others.
    """

    usual = 0.0

    def __init__(self, session_ms, check_ms=lambda _: 5.0):
        self.session_ms, self.check_ms = session_ms, check_ms
        self.sessions, self.checked, self.rests = [], [], []

    def session(self, networks, task, seed):
        self.sessions.append(sorted(networks))
        return {name: as_measured(self.session_ms(name)) for name in networks}

    def float_p50_ms(self, network, task):
        return None

    def blocks_ms(self, network, task):
        return (1.0,) * len(network.genotype.blocks)

    def rest(self, seconds):
        self.rests.append(seconds)

    def check(self, genotype, task):
        self.checked.append(genotype.id)
        return as_measured(self.check_ms(genotype.id))


def as_measured(value):
    return value if isinstance(value, Measurement) else measurement(value)


def measurement(p50_ms, p90_ms=None, robust_ms=None, contention=0.0):
    return Measurement(p50_ms, p90_ms or p50_ms, p50_ms, 0.0, 50, robust_ms or p50_ms, 0.01, contention)


def timed(*sessions):
    """Records of sessions that came to these measurements."""
    return [Timed(**asdict(found)) for found in sessions]


def retrained(origin="search", kind=Final, genotype="input 3x16x16\nconv 8/1\nhead\n", **known):
    """The record of a retraining."""
    foreseen = {"predicted_ms": 5.0, "bound_ms": 6.0, "params": 1, "macs": 1, "extrapolated": 0.0}
    times = {"seed": 0, "seconds": 1.0, "likely_ms": 5.0, "timed_ms": None}
    return kind(**{"origin": origin, "genotype": genotype, **foreseen, **times, **known})


def probe_of(text):
    return random.Random("probe" + Genotype.parse(text).id).random()


def accuracy_of(text):
    return random.Random(Genotype.parse(text).id).random()
