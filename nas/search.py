"""The search from its first question to the measured winner; every step is kept in the journal and taken once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from evaluators.cost import cost
from evaluators.data import Dataset
from evaluators.latency.predictor import Predictor
from evaluators.latency.profile import load_profile
from evaluators.latency.remeasure import Bench
from nas.jobs import Executor, Job, Progress, Setting
from nas.meter import LocalMeter, Meter
from nas.promise import BUSY, CHECK_EVERY, SESSIONS, Promise, growth, tail
from nas.run import Run
from nas.study import MOST_REFUSALS, Estimate, Proposal, Study, training_seed
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task


class View(Protocol):
    """Where the search shows what it does."""

    def phase(self, title: str, total: int, done: int = 0) -> None:
        """A new phase of `total` steps, `done` of them in an earlier session."""

    def step(self, line: str = "") -> None:
        """One step is done."""

    def working(self, epochs: float) -> None:
        """An epoch was trained; so many are expected to be left in this phase."""

    def best(self, text: str) -> None:
        """The best so far."""

    def say(self, line: str) -> None:
        """Something the person should know."""


class Search:
    """One session of a run: started, or resumed. `executor` is made when there is something to train.

    `meter` times networks, by default on this machine with the runtime of the run's profile. `reach` is kept for the
    result.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        predictor: Predictor,
        executor: Callable[[Setting], Executor],
        view: View,
        meter: Meter | None = None,
        reach: dict[str, Any] | None = None,
    ) -> None:
        self._run, self._dataset, self._predictor, self._view = run, dataset, predictor, view
        self._config, self._promise = run.config, Promise.of(run.config)
        profile = load_profile(str(run.device_profile), anywhere=True)
        self._meter = meter or LocalMeter(Bench.of(profile, run.config.space))
        self._tail = tail(profile.calibration(run.config.space).networks, run.config.percentile)
        self._growth = 1.0
        self._space = run.space()
        self._deploy = self._space.task(len(dataset.classes))
        self._train = self._deploy.at(dataset.size)
        self._anchors = {a.genotype.id: a for a in self._space.reference_networks()}
        self._make_executor = executor
        self._executor: Executor | None = None
        self._started, self._session = time.monotonic(), _now()
        self._study = Study(
            run.journal, self._space, self.estimate, self._config.budget_ms, self._config.sampler, self._config.seed
        )
        self._growth = self._corrected()
        if reach and not self._study.notes("reach"):
            self._study.note("reach:space", reach)

    def run(self) -> None:
        """Everything that is not in the journal yet. Raises InputError for what a person can mend."""
        if self._study.notes("finished"):
            return
        try:
            self._propose_and_train()
            tried: set[str] = set()
            while True:
                finalists = self._finalists(tried)
                if not finalists and self._search_further():
                    continue
                self._retrain(finalists)
                self._measure_retrained(finalists)
                if self._holding(finalists) or not finalists:
                    break
                tried |= {g.id for g in finalists}
            self._test()
            self._study.note("finished:run", {"at": _now()})
        finally:
            self._note_time()
            if self._executor:
                self._executor.close()

    def estimate(self, genotype: Genotype) -> Estimate:
        """Predicted latency at the deployment input, its bound as corrected so far, and cost."""
        prediction = self._predictor.predict(genotype, self._deploy)
        found = cost(genotype, self._deploy)
        bound_ms = prediction.bound_ms * self._tail * self._growth
        return Estimate(prediction.ms, bound_ms, found.params, found.macs, prediction.extrapolated)

    def _propose_and_train(self) -> None:
        source = _Proposals(
            self._study, self._config, self._anchor_proposals(), self._view, self._note_time, self._check, self._deadline
        )
        self._view.phase("search", source.total, source.done_before)
        if source.has_more():
            self._train_jobs(source)

    @property
    def _deadline(self) -> float | None:
        return self._started + self._config.seconds if self._config.seconds else None

    def _check(self, proposal: Proposal) -> None:
        """Times every fourth candidate that the gate let through, untrained, and corrects the bound where it was too low.

        Only `robust_ms` counts here, the time as of a quiet machine: trainings go on around it.
        """
        accepted = [t for t in self._study.trials() if t.anchor is None and t.outcome not in ("rejected", "repeated")]
        turn = next((i for i, t in enumerate(accepted) if t.number == proposal.number), None)
        if not self._config.measure or turn is None or turn % CHECK_EVERY:
            return
        genotype, estimate = proposal.genotype, proposal.estimate
        if genotype.id in self._study.notes("checked"):
            return
        [found] = self._meter.check({genotype.id: load_network(genotype, self._deploy, None)}, self._deploy).values()
        record = {"predicted_ms": estimate.predicted_ms, "bound_ms": estimate.bound_ms, **asdict(found)}
        record["score"] = found.robust_ms * self._tail / self._own_bound_ms(genotype)
        self._study.note(f"checked:{genotype.id}", record)
        self._view.say(
            f"      {genotype.id:<24} checked: {found.robust_ms:.2f} ms for {estimate.predicted_ms:.2f} ms predicted, "
            f"bound {estimate.bound_ms:.2f} ms"
        )
        if (wider := self._corrected()) > self._growth:
            self._view.say(f"The bound was too low; from now on it is {wider:.3f} times as high.")
        self._growth = wider

    def _own_bound_ms(self, genotype: Genotype) -> float:
        """The bound of the promised percentile before any correction."""
        return self._predictor.predict(genotype, self._deploy).bound_ms * self._tail

    def _corrected(self) -> float:
        """The correction of the bound, from the journal alone: what was checked, and what was over the budget at the end."""
        measured = self._study.notes("measured").items()
        scored = [*self._study.notes("checked").values()]
        scored += [m for i, m in measured if i not in self._anchors and not self._promise.held(m) and "score" in m]
        return growth((s["score"] for s in scored), self._config.confidence)

    def _search_further(self) -> bool:
        """Once, when all that was found is over the budget as measured: as many further trials as finalists are wanted."""
        over = [m for i, m in self._study.notes("measured").items() if i not in self._anchors]
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if self._study.notes("further") or self._study.notes("ended") or not over or late:
            return False
        self._study.note("further:search", {"trials": self._config.finalists, "growth": self._growth})
        self._view.say(
            f"All {len(over)} networks that were measured are over the budget: {self._config.finalists} further trials, "
            f"with the bound {self._growth:.3f} times as high."
        )
        self._propose_and_train()
        return True

    def _anchor_proposals(self) -> Iterator[Proposal]:
        """Anchors whose predicted upper bound is within the budget, as trials; those entered before are left out."""
        for entry in self._anchors.values():
            try:
                fits = self.estimate(entry.genotype).fits(self._config.budget_ms)
            except InputError:
                continue  # an operation that the device profile does not cover: measured, not predicted
            proposal = self._study.seed_anchor(entry) if fits else None
            if proposal:
                yield proposal

    def _finalists(self, tried: set[str]) -> list[Genotype]:
        """The best of the search that hold the budget when measured, by last validation accuracy."""
        found: list[Genotype] = []
        ranked = [t.genotype for t in ranking(self._study.trials()) if t.genotype.id not in tried]
        if not self._config.measure:
            return ranked[: self._config.finalists]
        self._view.phase("measure the best", min(self._config.finalists, len(ranked)))
        while ranked and len(found) < self._config.finalists:
            missing = self._config.finalists - len(found)
            batch, ranked = ranked[:missing], ranked[missing:]
            known = self._study.notes("measured")
            known |= self._measure([g for g in batch if g.id not in known], retrained=False)
            found += [g for g in batch if self._promise.held(known[g.id])]
        return found

    def _retrain(self, finalists: Iterable[Genotype]) -> None:
        """Finalists and anchors, by the same recipe, for its final epochs."""
        done = self._study.notes("final")
        wanted = {g.id: ("search", g) for g in finalists}
        wanted |= {i: (f"anchor:{a.name}", a.genotype) for i, a in self._anchors.items()}
        jobs = [
            Job(
                i,
                origin,
                g.text,
                self._config.recipe.final_epochs,
                training_seed(self._config.seed, g, "final"),
                keep=self._run.weights(i),
            )
            for i, (origin, g) in wanted.items()
            if i not in done
        ]
        self._view.phase("retrain the best and the anchors", len(wanted), len(wanted) - len(jobs))
        if jobs:
            figures = {i: self._figures(g) for i, (_, g) in wanted.items()}
            jobs.sort(key=lambda job: -figures[job.id]["macs"])  # the longest first, so that workers end together
            self._train_jobs(_Retrainings(jobs, figures, self._study, self._view, self._note_time))

    def _figures(self, genotype: Genotype) -> dict[str, Any]:
        """Estimates for the record; an anchor may have operations that the device profile does not cover."""
        try:
            return asdict(self.estimate(genotype))
        except InputError:
            found = cost(genotype, self._deploy)
            return {"predicted_ms": None, "bound_ms": None, "params": found.params, "macs": found.macs}

    def _measure_retrained(self, finalists: Iterable[Genotype]) -> None:
        """What is exported is what is measured: the retrained networks, on the device, twice in fresh processes."""
        if not self._config.measure:
            return
        genotypes = [*finalists, *(a.genotype for a in self._anchors.values())]
        finals, known = self._study.notes("final"), self._study.notes("measured")
        todo = [g for g in genotypes if "accuracy" in finals[g.id] and not known.get(g.id, {}).get("retrained")]
        self._view.phase("measure on the device", len(todo))
        self._measure(todo, retrained=True)

    def _measure(self, genotypes: Sequence[Genotype], retrained: bool) -> dict[str, dict[str, Any]]:
        """Times networks at the deployment input until each is known to hold the budget or not; keeps figures by id."""
        wanted, stage = (SESSIONS, "retrained") if retrained else (1, "untrained")
        while pending := [g for g in genotypes if self._promise.undecided(self._sessions(g.id, stage), wanted)]:
            self._time(pending, stage)
        found = {g.id: self._judged(g, stage, wanted) for g in genotypes}
        busy = max((m["contention"] for m in found.values()), default=0.0)
        if busy > BUSY:
            self._view.say(f"The machine was busy while this was measured: up to {busy:.0%} slower than when it is quiet.")
        self._growth = self._corrected()
        return found

    def _time(self, genotypes: Sequence[Genotype], stage: str) -> None:
        """One session: the networks exported anew, and timed in turns in a fresh process."""
        weights = {g.id: self._run.weights(g.id) if stage == "retrained" else None for g in genotypes}
        networks = {g.id: load_network(g, self._deploy, weights[g.id]) for g in genotypes}
        number = 1 + max(len(self._sessions(g.id, stage)) for g in genotypes)
        for genotype_id, figures in self._meter.session(networks, self._deploy, number).items():
            count = len(self._sessions(genotype_id, stage))
            self._study.note(f"timing:{genotype_id}/{stage}/{count + 1}", {"at": _now(), **asdict(figures)})

    def _sessions(self, genotype_id: str, stage: str) -> list[dict[str, Any]]:
        return [t for key, t in self._study.notes("timing").items() if key.startswith(f"{genotype_id}/{stage}/")]

    def _judged(self, genotype: Genotype, stage: str, wanted: int) -> dict[str, Any]:
        """Keeps and shows what the sessions of a network come to."""
        record = {**self._promise.record(self._sessions(genotype.id, stage), wanted), "retrained": stage == "retrained"}
        if genotype.id not in self._anchors:
            record["score"] = self._promise.figure_ms(record) / self._own_bound_ms(genotype)
        self._study.note(f"measured:{genotype.id}", record)
        name = self._anchors[genotype.id].name if genotype.id in self._anchors else genotype.id
        over = "" if record["held"] else "  over the budget"
        self._view.step(f"{name:<24} measured {record['p50_ms']:6.2f} ms, p90 {record['p90_ms']:6.2f} ms{over}")
        return record

    def _holding(self, finalists: Iterable[Genotype]) -> list[str]:
        finals, measured = self._study.notes("final"), self._study.notes("measured")
        return [g.id for g in finalists if self._promise.kept(finals[g.id], measured.get(g.id, {}))]

    def _test(self) -> None:
        """The test part, touched once: for the winner, the best that the search found, and the anchors."""
        import torch

        from evaluators.training.batches import Pictures
        from evaluators.training.loop import accuracy, training_device

        finals, done = self._study.notes("final"), self._study.notes("test")
        found = best_found(finals, self._study.notes("measured"), self._promise)
        ids = [i for i in [*self._anchors, *([found] if found else [])] if "accuracy" in finals[i] and i not in done]
        self._view.phase("test", len(ids))
        device = training_device()
        pictures = Pictures(self._dataset.test.images, self._dataset.test.labels, *self._dataset.mean_std(), device)
        for i in ids:
            genotype = Genotype.parse(finals[i]["genotype"])
            network = load_network(genotype, self._train, self._run.weights(i)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._study.note(f"test:{i}", {"accuracy": accuracy(network, pictures), "pictures": len(pictures)})
            self._view.step()

    def _train_jobs(self, source: Any) -> None:
        if self._executor is None:
            threads = max(1, _cpus() // self._config.workers)
            self._executor = self._make_executor(Setting(self._train, self._dataset, self._config.recipe, threads))
        self._executor.run(source)

    def _note_time(self) -> None:
        self._study.note(f"session:{self._session}", {"seconds": round(time.monotonic() - self._started, 1)})


class _Proposals:
    """Jobs of the search: what an interrupted session left running, anchors, then what the study asks for."""

    def __init__(
        self,
        study: Study,
        config: Any,
        anchors: Iterator[Proposal],
        view: View,
        keep_time: Callable[[], None],
        check: Callable[[Proposal], None],
        deadline: float | None,
    ) -> None:
        self._study, self._config, self._view, self._keep_time = study, config, view, keep_time
        self._check, self._deadline = check, deadline
        trials = study.trials()
        self._waiting = [t for t in trials if t.outcome == "running"] + list(anchors)
        started = [t for t in trials if t.anchor is None and t.outcome not in ("rejected", "repeated")]
        further = sum(note["trials"] for note in study.notes("further").values())
        self._left = config.trials + further - len(started)
        self.done_before = sum(t.outcome in ("trained", "stopped", "failed") for t in trials)
        self.total = self.done_before + len(self._waiting) + max(0, self._left)
        self._expected = self.total - self.done_before

    def has_more(self) -> bool:
        return bool(self._waiting) or self._may_ask()

    def next(self) -> Job | None:
        proposal = self._waiting.pop(0) if self._waiting else self._ask()
        if proposal is None:
            return None
        self._check(proposal)
        seed = training_seed(self._config.seed, proposal.genotype, "search")
        recipe = self._config.recipe
        text = proposal.genotype.text
        return Job(str(proposal.number), proposal.origin, text, recipe.epochs, seed, recipe.search_share)

    def progress(self, job: Job, progress: Progress) -> bool:
        stop = self._study.report(int(job.id), progress.epoch, progress.accuracy, progress.seconds)
        self._view.working(self._expected_epochs())
        return stop

    def done(self, job: Job) -> None:
        trial = self._study.complete(int(job.id), self._config.recipe.epochs)
        self._ended(trial, f"{trial.accuracy:6.2%} after {len(trial.accuracies)} epochs")

    def failed(self, job: Job, reason: str) -> None:
        self._ended(self._study.fail(int(job.id), reason), f"failed: {reason}")

    def _ended(self, trial: Proposal, what: str) -> None:
        self._expected -= 1
        self._keep_time()
        leaders = ranking(self._study.trials(), anchors=True)
        if leaders:
            lead = leaders[0]
            self._view.best(
                f"best {lead.accuracy:.2%} at {lead.estimate.predicted_ms:.1f} ms ({lead.anchor or lead.genotype.id})"
            )
        name, predicted = trial.anchor or trial.genotype.id, trial.estimate.predicted_ms
        self._view.step(f"{trial.number:>4}  {name:<24} {predicted:6.2f} ms predicted  {what}")

    def _ask(self) -> Proposal | None:
        if not self._may_ask():
            return None
        proposal = self._study.ask()
        if proposal is None:
            self._end(f"no new network within the budget in {MOST_REFUSALS} proposals in a row")
        else:
            self._left -= 1
        return proposal

    def _may_ask(self) -> bool:
        if self._left > 0 and self._deadline is not None and time.monotonic() >= self._deadline:
            self._end("the time was over")
        return self._left > 0

    def _end(self, why: str) -> None:
        """Asks for no more, before all trials were asked for."""
        self._study.note("ended:search", {"why": why})
        self._view.say(f"The search ends {self._left} candidates early: {why}.")
        self._left = 0

    def _expected_epochs(self) -> float:
        """Epochs still to be trained, judged by how long trials have lasted so far."""
        ended = [len(t.accuracies) for t in self._study.trials() if t.outcome in ("trained", "stopped")]
        return self._expected * (sum(ended) / len(ended) if ended else (1 + self._config.recipe.epochs) / 2)


class _Retrainings:
    """A list of jobs whose results are kept as `final` notes."""

    def __init__(
        self, jobs: list[Job], figures: dict[str, Any], study: Study, view: View, keep_time: Callable[[], None]
    ) -> None:
        self._jobs, self._figures = list(jobs), figures
        self._study, self._view, self._keep_time = study, view, keep_time
        self._curves: dict[str, list[Progress]] = {}
        self._epochs = sum(job.epochs for job in jobs)

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job: Job, progress: Progress) -> bool:
        self._curves.setdefault(job.id, []).append(progress)
        self._epochs -= 1
        self._view.working(self._epochs)
        return False

    def done(self, job: Job) -> None:
        curve = self._curves[job.id]
        self._keep(job, {"accuracy": curve[-1].accuracy, "accuracies": [p.accuracy for p in curve]})
        self._view.step(f"{job.label:<24} {job.id}  {curve[-1].accuracy:6.2%} after {len(curve)} epochs")

    def failed(self, job: Job, reason: str) -> None:
        self._keep(job, {"reason": reason})
        self._view.step(f"{job.label:<24} {job.id}  failed: {reason}")

    def _keep(self, job: Job, found: dict[str, Any]) -> None:
        seconds = round(sum(p.seconds for p in self._curves.get(job.id, [])), 1)
        common = {
            "origin": job.label,
            "genotype": job.genotype,
            "seed": job.seed,
            "seconds": seconds,
            **self._figures[job.id],
        }
        self._study.note(f"final:{job.id}", common | found)
        self._keep_time()


def ranking(trials: Iterable[Proposal], anchors: bool = False) -> list[Proposal]:
    """Trained proposals, best first: by how far successive halving let them go, then by validation accuracy."""
    ended = [t for t in trials if t.outcome in ("trained", "stopped") and (anchors or t.anchor is None)]
    return sorted(ended, key=lambda t: (-len(t.accuracies), -t.accuracy, t.number))


def best_found(finals: dict[str, Any], measured: dict[str, Any], promise: Promise, origin: str = "search") -> str | None:
    """The id of the retrained network with the best validation accuracy among those that hold the budget."""
    held = [i for i, final in finals.items() if final["origin"].startswith(origin) and promise.kept(final, measured.get(i, {}))]
    return max(held, key=lambda i: finals[i]["accuracy"], default=None)


def load_network(genotype: Genotype, task: Task, weights: Path | None) -> Any:
    """The network in eval mode, with retrained weights from a safetensors file if given; raises InputError if damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from search_spaces.network import build

    network = build(genotype, task)
    if weights:
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise InputError(f"{weights}: cannot be read as this network's weights: {str(error).splitlines()[0]}") from None
    return network.eval()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cpus() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
