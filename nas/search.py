"""The search from its first question to the measured winner; every step is kept in the journal and taken once."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from evaluators.cost import cost
from evaluators.data import Dataset
from evaluators.latency.predictor import Predictor
from nas.jobs import Executor, Job, Progress, Setting
from nas.run import Run
from nas.study import MOST_REFUSALS, Estimate, Proposal, Study, training_seed
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_SECONDS_A_NETWORK = 2.5


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
    """One session of a run: started, or resumed. `executor` is made when there is something to train."""

    def __init__(
        self, run: Run, dataset: Dataset, predictor: Predictor, executor: Callable[[Setting], Executor], view: View
    ) -> None:
        self._run, self._dataset, self._predictor, self._view = run, dataset, predictor, view
        self._config = run.config
        self._space = run.space()
        self._deploy = self._space.task(len(dataset.classes))
        self._train = self._deploy.at(dataset.size)
        self._anchors = {a.genotype.id: a for a in self._space.reference_networks()}
        self._make_executor = executor
        self._executor: Executor | None = None
        self._started, self._session = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        self._study = Study(
            run.journal, self._space, self.estimate, self._config.budget_ms, self._config.sampler, self._config.seed
        )

    def run(self) -> None:
        """Everything that is not in the journal yet. Raises InputError for what a person can mend."""
        if self._study.notes("finished"):
            return
        try:
            self._propose_and_train()
            tried: set[str] = set()
            while True:
                finalists = self._finalists(tried)
                self._retrain(finalists)
                self._measure_retrained(finalists)
                if self._holding(finalists) or not finalists:
                    break
                tried |= {g.id for g in finalists}
            self._test()
            self._study.note("finished:run", {"at": datetime.now(UTC).isoformat(timespec="seconds")})
        finally:
            self._note_time()
            if self._executor:
                self._executor.close()

    def estimate(self, genotype: Genotype) -> Estimate:
        """Predicted latency at the deployment input, and cost."""
        prediction = self._predictor.predict(genotype, self._deploy)
        found = cost(genotype, self._deploy)
        return Estimate(prediction.ms, prediction.bound_ms, found.params, found.macs)

    def _propose_and_train(self) -> None:
        source = _Proposals(self._study, self._config, self._anchor_proposals(), self._view, self._note_time)
        self._view.phase("search", source.total, source.done_before)
        if source.has_more():
            self._train_jobs(source)

    def _anchor_proposals(self) -> Iterator[Proposal]:
        """Anchors whose predicted upper bound is within the budget, as trials; those entered before are left out."""
        for entry in self._anchors.values():
            try:
                fits = self.estimate(entry.genotype).bound_ms <= self._config.budget_ms
            except InputError:
                continue  # an operation that the device profile does not cover: measured, not predicted
            proposal = self._study.seed_anchor(entry) if fits else None
            if proposal:
                yield proposal

    def _finalists(self, tried: set[str]) -> list[Genotype]:
        """The best of the search that hold the budget when measured, by last validation accuracy."""
        found: list[Genotype] = []
        ranked = [t.genotype for t in ranking(self._study.trials()) if t.genotype.id not in tried]
        self._view.phase("measure the best", min(self._config.finalists, len(ranked)))
        while ranked and len(found) < self._config.finalists:
            missing = self._config.finalists - len(found)
            batch, ranked = ranked[:missing], ranked[missing:]
            known = self._study.notes("measured")
            known |= self._measure([g for g in batch if g.id not in known], retrained=False)
            found += [g for g in batch if known[g.id]["p50_ms"] <= self._config.budget_ms]
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
        """What is exported is what is measured: the retrained networks, on the device."""
        genotypes = [*finalists, *(a.genotype for a in self._anchors.values())]
        finals, known = self._study.notes("final"), self._study.notes("measured")
        todo = [g for g in genotypes if "accuracy" in finals[g.id] and not known.get(g.id, {}).get("retrained")]
        self._view.phase("measure on the device", len(todo))
        self._measure(todo, retrained=True)

    def _measure(self, genotypes: Sequence[Genotype], retrained: bool) -> dict[str, dict[str, Any]]:
        """Exports networks at the deployment input and times them in turns; keeps and returns the figures by id."""
        from evaluators.latency.measure import measure_files
        from evaluators.onnx import export_onnx

        if not genotypes:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{g.id}.onnx" for g in genotypes]
            for genotype, file in zip(genotypes, files, strict=True):
                weights = self._run.weights(genotype.id) if retrained else None
                export_onnx(load_network(genotype, self._deploy, weights), self._deploy, file)
            figures = measure_files(files, _SECONDS_A_NETWORK * len(files))
        found = {g.id: {**asdict(m), "retrained": retrained} for g, m in zip(genotypes, figures, strict=True)}
        for genotype_id, measured in found.items():
            self._study.note(f"measured:{genotype_id}", measured)
            name = self._anchors[genotype_id].name if genotype_id in self._anchors else genotype_id
            self._view.step(f"{name:<24} measured {measured['p50_ms']:6.2f} ms")
        return found

    def _holding(self, finalists: Iterable[Genotype]) -> list[str]:
        measured = self._study.notes("measured")
        retrained = [g.id for g in finalists if measured[g.id]["retrained"]]
        return [i for i in retrained if measured[i]["p50_ms"] <= self._config.budget_ms]

    def _test(self) -> None:
        """The test part, touched once: for the winner, the best that the search found, and the anchors."""
        import torch

        from evaluators.training.batches import Pictures
        from evaluators.training.loop import accuracy, training_device

        finals, done = self._study.notes("final"), self._study.notes("test")
        found = best_found(finals, self._study.notes("measured"), self._config.budget_ms)
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
        self, study: Study, config: Any, anchors: Iterator[Proposal], view: View, keep_time: Callable[[], None]
    ) -> None:
        self._study, self._config, self._view, self._keep_time = study, config, view, keep_time
        trials = study.trials()
        self._waiting = [t for t in trials if t.outcome == "running"] + list(anchors)
        started = [t for t in trials if t.anchor is None and t.outcome not in ("rejected", "repeated")]
        self._left = config.trials - len(started)
        self.done_before = sum(t.outcome in ("trained", "stopped", "failed") for t in trials)
        self.total = self.done_before + len(self._waiting) + max(0, self._left)
        self._deadline = time.monotonic() + config.seconds if config.seconds else None
        self._expected = self.total - self.done_before

    def has_more(self) -> bool:
        return bool(self._waiting) or self._may_ask()

    def next(self) -> Job | None:
        proposal = self._waiting.pop(0) if self._waiting else self._ask()
        if proposal is None:
            return None
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


def best_found(finals: dict[str, Any], measured: dict[str, Any], budget_ms: float, origin: str = "search") -> str | None:
    """The id of the retrained network with the best validation accuracy among those measured within the budget."""
    held = [
        i
        for i, final in finals.items()
        if final["origin"].startswith(origin)
        and "accuracy" in final
        and measured.get(i, {}).get("retrained")
        and measured[i]["p50_ms"] <= budget_ms
    ]
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


def _cpus() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
