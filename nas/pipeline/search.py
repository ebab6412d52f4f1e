"""The search from its first question to the measured winner; every step is kept in the journal and taken once."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evaluators.data import Dataset
from evaluators.inheritance.donor import Donor
from evaluators.latency.device.measure_networks import Bench
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.device.stored_times import Times
from evaluators.latency.predict.predictor import Predictor
from evaluators.processors import processors
from evaluators.weights import GENOTYPE, WEIGHTS, load_network
from nas.budget.estimate import Estimate
from nas.budget.estimator import Estimator
from nas.budget.latency_budget import BUSY, CHECK_EVERY, SESSIONS, SPARE
from nas.budget.timing import LocalTimer, Timer
from nas.executors.job import Executor, Job, Setting
from nas.pipeline.job_sources import Probes, Proposals, Retrainings
from nas.pipeline.ranking import along_front, best_found, contenders, over_seeds, ranking, rival_anchors
from nas.pipeline.study import Study
from nas.progress import View
from nas.run.folder import Run
from nas.run.trials import Proposal
from nas.seeds import training_seed
from search_spaces.anchor import Anchor, base_name
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, read_genotype


class Search:
    """One session of a run: started, or resumed. `executor` is made when there is something to train.

    `scorer`, if there is one, makes what carries out the candidates' jobs in its place (nas.executors.supernet).
    `meter` times networks, by default on this machine with the runtime of the run's profile. `reach` is kept for the
    result. Where there is a `donor`, every network that is trained inherits from it.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        predictor: Predictor,
        executor: Callable[[Setting], Executor],
        view: View,
        meter: Timer | None = None,
        reach: dict[str, Any] | None = None,
        scorer: Callable[[Setting, View], Executor] | None = None,
        donor: Donor | None = None,
    ) -> None:
        self._run, self._dataset, self._view, self._donor = run, dataset, view, donor
        self._config = run.config
        profile = load_profile(str(run.device_profile), anywhere=True)
        self._space = run.space()
        self._meter = meter or LocalTimer(Bench.of(profile, self._space), Times.of(profile, self._space))
        self._promise = replace(run.config.latency_budget, usual=self._meter.usual)
        self._above_quiet = self._promise.above_quiet(profile.calibration(self._space).networks)
        self._task = self._space.task(len(dataset.classes))
        self._latencies = Estimator(predictor, self._task, self._promise, self._above_quiet)
        self._anchors = {a.genotype.id: a for a in self._space.reference_networks()}
        self._make_executor = executor
        self._make_scorer = scorer
        self._executor: Executor | None = None
        self._scorer: Executor | None = None
        self._started, self._session = time.monotonic(), _now()
        self._study = Study(
            run.journal,
            self._space,
            self._latencies.estimate,
            self._promise.allowed_ms,
            self._config.sampler,
            self._config.seed,
            self._config.cost,
            timed=self._timed if self._config.measure else None,
            origins=self._donor_in_space(),
        )
        self._learn()
        if reach and not self._study.notes("reach"):
            self._study.note("reach:space", reach)

    def run(self) -> None:
        """All that is not in the journal yet, and what lost its weights; raises InputError for what a person can mend."""
        finished, lost = bool(self._study.notes("finished")), self._lost()
        if finished and not lost:
            return
        try:
            self._train_lost(lost)
            if not finished:
                self._find()
            self._test([key for found in lost.values() for key in found])
            if not finished:
                self._study.note("finished:run", {"at": _now()})
        finally:
            self._note_time()
            if self._executor:
                self._executor.close()

    def _find(self) -> None:
        """From the first proposal to networks that were retrained and measured."""
        self._probe_anchors()
        self._propose_and_train()
        tried: set[str] = set()
        others = self._random_baseline()
        while True:
            finalists = self._finalists(tried)
            if len(finalists) < self._config.finalists and self._search_further():
                continue
            self._retrain(finalists, others)
            self._measure_retrained([*finalists, *others])
            if self._holding(finalists) or not finalists:
                break
            tried |= {g.id for g in finalists}
        self._retrain_smaller_anchors()
        self._retrain_contenders()

    def _lost(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Of each kind of retraining those whose weights are not there any more, by key; kinds without any are left out."""
        found = {
            kind: {key: n for key, n in self._study.notes(kind).items() if "accuracy" in n and not self._weights(key).is_file()}
            for kind in ("final", "again")
        }
        return {kind: notes for kind, notes in found.items() if notes}

    def _train_lost(self, lost: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
        """Trains networks whose weights are missing again, from the same seeds; what is known of them is told anew."""
        for kind, notes in lost.items():
            self._view.say(f"Missing in {self._run.path}: {', '.join(f'weights/{self._weights(key).name}' for key in notes)}")
            (self._run.path / "weights").mkdir(exist_ok=True)
            wanted = {key: (key.partition("/")[0], n["origin"], Genotype.parse(n["genotype"])) for key, n in notes.items()}
            self._retrain_as("retrain those whose weights are missing", kind, wanted, notes)

    def _weights(self, key: str) -> Path:
        """The file of a retraining's weights, by its key: ID, or ID/SEED for further seeds."""
        return self._run.weights(key.replace("/", "-"))

    def estimate(self, genotype: Genotype) -> Estimate:
        """What is known of a network before it is trained."""
        return self._latencies.estimate([genotype])[0]

    def _donor_in_space(self) -> list[Genotype]:
        """The donor's own network at each input, where the space contains it."""
        own = [a for a in self._anchors.values() if self._donor and base_name(a.name) == self._donor.name]
        return [a.genotype for a in own if self._space.place_of(a) == "inside"]

    def _propose_and_train(self) -> None:
        further = sum(note["trials"] for note in self._study.notes("further").values())
        source = Proposals(
            self._study,
            self._config,
            self._config.trials + further,
            self._anchor_proposals(),
            self._view,
            self._note_time,
            self._check,
            self._deadline,
        )
        self._carry_out("search", source)

    def _random_baseline(self) -> list[Genotype]:
        """What random search finds in as many trainings as the search and its anchors took; by the same recipe."""
        if not self._config.baseline:
            return []
        study = self._study.beside("random", "random")
        trials = sum(t.outcome in ("trained", "stopped", "failed") for t in self._study.trials())
        source = Proposals(study, self._config, trials, (), self._view, self._note_time, lambda _: None, None, stage="baseline")
        self._carry_out("random search, to compare", source)
        return self._holding_untrained(ranking(study.trials()), set())

    @property
    def _deadline(self) -> float | None:
        return self._started + self._config.seconds if self._config.seconds else None

    def _check(self, proposal: Proposal) -> None:
        """Times every fourth candidate that its bound let through, too: the bound is corrected where it was too low."""
        sure = [t for t in self._study.trials() if t.anchor is None and t.outcome not in ("rejected", "repeated")]
        sure = [t for t in sure if t.estimate.timed_ms is None]
        turn = next((i for i, t in enumerate(sure) if t.number == proposal.number), None)
        if self._config.measure and turn is not None and turn % CHECK_EVERY == 0:
            self._timed(proposal.genotype, proposal.estimate)

    def _timed(self, genotype: Genotype, estimate: Estimate) -> Estimate:
        """Times a network untrained, and learns from it; the estimate that it has then."""
        if genotype.id not in self._study.notes("checked"):
            record = self._latencies.checked(genotype, estimate, self._meter.check(genotype, self._task))
            self._study.note(f"checked:{genotype.id}", record)
            over = "  over the budget" if record["timed_ms"] > self._promise.allowed_ms else ""
            self._view.say(
                f"      {self._name(genotype):<24} timed: {record['timed_ms']:.2f} ms at most at the usual speed; "
                f"{_predicted(estimate)}{over}"
            )
        before = self._latencies.growth
        self._learn()
        if self._latencies.growth > before:
            self._view.say(f"The bound was too low; from now on it is {self._latencies.growth:.3f} times as high.")
        return self.estimate(genotype)

    def _learn(self) -> None:
        """Corrects the bound, from the journal alone: by what was timed untrained, and what was over the budget at the end."""
        over = {i: m for i, m in self._measured().items() if not self._promise.held(m)}
        if self._latencies.learn(self._study.notes("checked"), over):
            self._study.estimates_changed()

    def _measured(self) -> dict[str, dict[str, Any]]:
        """The records of networks that the search proposed, by id: no anchors, nor what random search found beside it."""
        proposed = {t.genotype.id for t in self._study.trials() if t.anchor is None} - self._anchors.keys()
        return {i: m for i, m in self._study.notes("measured").items() if i in proposed}

    def _may_search_further(self) -> bool:
        over = any(not self._promise.held(m) for m in self._measured().values())
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return over and not (self._study.notes("further") or self._study.notes("ended") or late)

    def _search_further(self) -> bool:
        """Once, when too few hold the budget as measured: as many further trials as finalists are wanted."""
        if not self._may_search_further():
            return False
        held = [self._promise.held(m) for m in self._measured().values()]
        growth = self._latencies.growth
        self._study.note("further:search", {"trials": self._config.finalists, "growth": growth})
        self._view.say(
            f"{sum(held)} of {len(held)} networks that were measured hold the budget: {self._config.finalists} further trials, "
            f"with the bound {growth:.3f} times as high."
        )
        self._propose_and_train()
        return True

    def _probe_anchors(self) -> None:
        """The linear probe of every hand-designed network within the budget, on the features that it inherits."""
        if not self._donor:
            return
        done, fitting = self._study.notes("probe"), self._fitting_anchors()
        jobs = [
            Job(
                a.genotype.id,
                a.name,
                a.genotype.text,
                self._config.recipe,
                training_seed(self._config.seed, a.genotype, "search"),
                probe_only=True,
            )
            for a in sorted(fitting, key=lambda a: a.genotype.input or ())  # a worker keeps what the donor makes of one input
            if a.genotype.id not in done
        ]
        self._view.phase("probe the hand-designed networks", len(fitting), len(fitting) - len(jobs))
        if jobs:
            self._train_jobs(Probes(jobs, self._study, self._view))

    def _fitting_anchors(self) -> list[Anchor]:
        """The anchors that pass the gate; those in doubt, and those that cannot be predicted, after they were timed."""
        found = []
        for entry in self._anchors.values():
            estimate = self.estimate(entry.genotype)
            unknown = self._config.measure and estimate.beyond(self._promise.allowed_ms)
            if unknown or self._study.in_doubt(estimate):
                estimate = self._timed(entry.genotype, estimate)
            if estimate.fits(self._promise.allowed_ms):
                found.append(entry)
        return found

    def _anchor_proposals(self) -> Iterator[Proposal]:
        """Anchors that pass the gate, as trials; those entered before are left out. Only `_rivals` of them are trained.

        A supernet has no weights for an anchor outside the space, which then is a reference only.
        """
        fitting, probes = self._fitting_anchors(), {} if self._make_scorer else self._probed()
        rivals = self._rivals(fitting)
        for entry in fitting:
            if self._make_scorer and self._space.place_of(entry) != "inside":
                continue
            probe = None if entry in rivals else probes.get(entry.genotype.id)
            if entry not in rivals and probe is None:
                continue
            proposal = self._study.seed_anchor(entry, probe)
            if proposal and probe is None:
                yield proposal

    def _rivals(self, fitting: Sequence[Anchor]) -> list[Anchor]:
        return rival_anchors(fitting, self._probed(), self._config.rivals, self._own_anchors())

    def _probed(self) -> dict[str, float]:
        """The probes of hand-designed networks, by genotype id."""
        return {i: note["accuracy"] for i, note in self._study.notes("probe").items() if "accuracy" in note}

    def _own_anchors(self) -> set[str]:
        """The hand-designed networks that are trained however their probes come out: the donor, and those asked for."""
        return {*self._config.anchors, *([self._donor.name] if self._donor else [])}

    def _finalists(self, tried: set[str]) -> list[Genotype]:
        """The best of the search that hold the budget when measured; with a second objective, along the front of both."""
        ranked = ranking(self._study.trials())
        return self._holding_untrained(along_front(ranked, self._config.cost) if self._config.cost else ranked, tried)

    def _holding_untrained(self, trials: Iterable[Proposal], tried: set[str]) -> list[Genotype]:
        """The first of them that hold the budget when measured, as many as finalists are wanted; without those `tried`.

        Those that the bound, corrected by what was just measured, puts over the budget wait until there is nothing better: on a
        machine that has become slower, all that comes near the budget would be measured in vain.
        """
        found: list[Genotype] = []
        ranked = [t.genotype for t in trials if t.genotype.id not in tried]
        if not self._config.measure:
            return ranked[: self._config.finalists]
        self._view.phase("measure the best", min(self._config.finalists, len(ranked)))
        while ranked and len(found) < self._config.finalists:
            known = self._study.notes("measured")
            likely = [g for g in ranked if g.id in known or self.estimate(g).fits(self._promise.allowed_ms)]
            if not likely and self._may_search_further():
                break
            batch = (likely or ranked)[: self._config.finalists - len(found)]
            ranked = [g for g in ranked if g not in batch]
            known |= self._screen([g for g in batch if g.id not in known])
            found += [g for g in batch if self._promise.held(known[g.id])]
        return found

    def _retrain(self, finalists: Iterable[Genotype], others: Iterable[Genotype]) -> None:
        """Finalists, anchors and what random search found, by the same recipe, taught by the same network if there is one."""
        wanted = {g.id: ("random", g) for g in others} | {g.id: ("search", g) for g in finalists}
        wanted |= {a.genotype.id: (f"anchor:{a.name}", a.genotype) for a in self._final_anchors()}
        self._retrain_as("retrain the best and the anchors", "final", {i: (i, *what) for i, what in wanted.items()})

    def _final_anchors(self) -> list[Anchor]:
        """The hand-designed networks that are retrained: the best that the search trained, the donor, and those asked for.

        Where a supernet scores, those that were to be trained: it has scored but a few of them.
        """
        if self._make_scorer:
            return self._rivals(self._fitting_anchors())
        trained = [t for t in ranking(self._study.trials(), anchors=True) if t.anchor]
        own = [t for t in trained if base_name(t.anchor or "") in self._own_anchors()]
        best = [t for t in trained if t not in own][: self._config.finalists]
        return [self._anchors[t.genotype.id] for t in [*best, *own] if t.genotype.id in self._anchors]

    def _retrain_smaller_anchors(self) -> None:
        """Hand-designed networks that were over the budget in the end, at the next smaller input, until they hold it."""
        while smaller := self._smaller_anchors():
            wanted = {a.genotype.id: (a.genotype.id, f"anchor:{a.name}", a.genotype) for a in smaller}
            self._retrain_as("retrain hand-designed networks at a smaller input", "final", wanted)
            self._measure_retrained([])

    def _smaller_anchors(self) -> list[Anchor]:
        """Of each hand-designed network that held the budget at no input measured so far, that at the next smaller."""
        finals, measured = self._study.notes("final"), self._study.notes("measured")
        trained = [self._anchors[i] for i in finals if i in self._anchors and measured.get(i, {}).get("retrained")]
        over = dict.fromkeys(base_name(a.name) for a in trained)
        for entry in trained:
            if self._promise.held(measured[entry.genotype.id]):
                over.pop(base_name(entry.name), None)
        fitting = [a for a in self._fitting_anchors() if a.genotype.id not in finals] if over else []
        found = []
        for name in over:
            least = min(_pixels(a) for a in trained if base_name(a.name) == name)
            smaller = [a for a in fitting if base_name(a.name) == name and _pixels(a) < least]
            found += [max(smaller, key=_pixels)] if smaller else []
        return found

    def _retrain_contenders(self) -> None:
        """Those that may still win, with further seeds: one training says little of differences of a point."""
        finals = {i: f for i, f in self._study.notes("final").items() if "accuracy" in f}
        ids = contenders(finals, self._study.notes("measured"), self._promise, self._config.finalists)
        wanted = {
            f"{i}/{seed}": (i, finals[i]["origin"], Genotype.parse(finals[i]["genotype"]))
            for seed in range(2, self._config.final_seeds + 1)
            for i in ids
        }
        if wanted:
            self._retrain_as("retrain with another seed", "again", wanted)

    def _retrain_as(
        self,
        title: str,
        kind: str,
        wanted: Mapping[str, tuple[str, str, Genotype]],
        lost: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    ) -> None:
        """Jobs by key, (genotype id, origin, genotype) each, whose results are notes of a kind; `lost` ones are done again."""
        done = self._study.notes(kind).keys() - lost.keys()
        jobs = {
            key: Job(
                key,
                origin,
                genotype.text,
                self._config.final_recipe,
                training_seed(self._config.seed, genotype, key.replace(i, "final")),
                keep=self._weights(key),
            )
            for key, (i, origin, genotype) in wanted.items()
            if key not in done
        }
        self._view.phase(title, len(wanted), len(wanted) - len(jobs))
        if not jobs:
            return
        teacher = self._teacher()
        figures = {key: _figures_of(lost[key]) if key in lost else self._figures(wanted[key][2]) for key in jobs}
        order = sorted(jobs, key=lambda key: -figures[key]["macs"])  # the longest first, so that workers end together
        todo = [replace(jobs[key], teacher=teacher) for key in order]
        self._train_jobs(Retrainings(todo, figures, self._study, self._view, self._note_time, kind))

    def _teacher(self) -> Path | None:
        """The folder of the network that teaches, if one was asked for; trained first where only its genotype is known."""
        if not self._config.distill:
            return None
        folder = self._run.teacher
        if not (folder / WEIGHTS).is_file():
            genotype = read_genotype(folder / GENOTYPE)
            seed = training_seed(self._config.seed, genotype, "teacher")
            keep = folder / WEIGHTS
            job = Job(genotype.id, f"teacher {self._config.distill}", genotype.text, self._config.final_recipe, seed, keep)
            self._view.phase("train the teacher", 1)
            figures = {job.id: self._figures(genotype)}
            self._train_jobs(Retrainings([job], figures, self._study, self._view, self._note_time, kind="teacher"))
            if reason := self._study.notes("teacher")[job.id].get("reason"):
                raise InputError(f"the teacher {self._config.distill} could not be trained: {reason}")
        return folder

    def _figures(self, genotype: Genotype) -> dict[str, Any]:
        """Estimates for the record; those of an anchor with an operation that the device profile lacks are null."""
        return self.estimate(genotype).as_json()

    def _measure_retrained(self, finalists: Iterable[Genotype]) -> None:
        """What is exported is what is measured: the retrained networks, on the device, twice in fresh processes."""
        if not self._config.measure:
            return
        finals, known = self._study.notes("final"), self._study.notes("measured")
        anchors = [self._anchors[i].genotype for i, final in finals.items() if final["origin"].startswith("anchor:")]
        genotypes = [*finalists, *anchors]
        todo = [g for g in genotypes if "accuracy" in finals[g.id] and not known.get(g.id, {}).get("retrained")]
        self._view.phase("measure on the device", len(todo))
        while pending := [g for g in todo if self._promise.undecided(self._sessions(g.id, "retrained"), SESSIONS)]:
            self._await_quiet(pending)
            self._time(pending, "retrained")
        self._keep({g: self._promise.record(self._sessions(g.id, "retrained"), SESSIONS) for g in todo}, retrained=True)

    def _screen(self, genotypes: Sequence[Genotype]) -> dict[str, dict[str, Any]]:
        """Times networks untrained, once: whether they would hold the budget; figures by id."""
        if pending := [g for g in genotypes if not self._sessions(g.id, "untrained")]:
            self._time(pending, "untrained")
        records = {g: self._promise.screening(self._sessions(g.id, "untrained")[-1], self._above_quiet) for g in genotypes}
        return self._keep(records, retrained=False)

    def _await_quiet(self, genotypes: Sequence[Genotype]) -> None:
        """Waits where a busy machine kept networks from holding the budget: what is measured again at once meets the same."""
        seconds = max(self._promise.pause_s(self._sessions(g.id, "retrained"), SESSIONS) for g in genotypes)
        if seconds:
            self._view.say(f"The machine is busy; waiting {seconds:.0f} s for a quieter moment to measure again.")
            self._meter.rest(seconds)

    def _time(self, genotypes: Sequence[Genotype], stage: str) -> None:
        """One session: the networks exported anew, and timed in turns in a fresh process."""
        weights = {g.id: self._run.weights(g.id) if stage == "retrained" else None for g in genotypes}
        networks = {g.id: load_network(g, self._task.of(g), weights[g.id]) for g in genotypes}
        number = 1 + max(len(self._sessions(g.id, stage)) for g in genotypes)
        for genotype_id, figures in self._meter.session(networks, self._task, number).items():
            count = len(self._sessions(genotype_id, stage))
            self._study.note(f"timing:{genotype_id}/{stage}/{count + 1}", {"at": _now(), **asdict(figures)})

    def _sessions(self, genotype_id: str, stage: str) -> list[dict[str, Any]]:
        return [t for key, t in self._study.notes("timing").items() if key.startswith(f"{genotype_id}/{stage}/")]

    def _keep(self, records: Mapping[Genotype, dict[str, Any]], retrained: bool) -> dict[str, dict[str, Any]]:
        """Keeps and shows what networks' sessions come to, and corrects the bound by it; the records by id."""
        found: dict[str, dict[str, Any]] = {}
        for genotype, record in records.items():
            found[genotype.id] = record = record | {"retrained": retrained}
            if genotype.id not in self._anchors:
                record["score"] = record["as_usual_ms"] / self._latencies.own_bound_ms(genotype)
            self._study.note(f"measured:{genotype.id}", record)
            usual_ms = record["as_usual_ms"]
            corrected = not retrained and usual_ms < self._promise.figure_ms(record)
            usual = f", {usual_ms:.2f} ms at the machine's usual speed" if corrected else ""
            over = "" if record["held"] else f"  over the budget, of which {SPARE:.0%} must be left at the usual speed"
            figures = f"measured {record['p50_ms']:6.2f} ms, p90 {record['p90_ms']:6.2f} ms"
            self._view.step(f"{self._name(genotype):<24} {figures}{usual}{over}")
        busy = max((m["contention"] for m in found.values()), default=0.0)
        if busy > BUSY:
            self._view.say(f"While this was measured the machine was up to {busy:.0%} slower than at its quietest.")
        self._learn()
        return found

    def _name(self, genotype: Genotype) -> str:
        return self._anchors[genotype.id].name if genotype.id in self._anchors else genotype.id

    def _holding(self, finalists: Iterable[Genotype]) -> list[str]:
        finals, measured = self._study.notes("final"), self._study.notes("measured")
        return [g.id for g in finalists if self._promise.kept(finals[g.id], measured.get(g.id, {}))]

    def _test(self, again_for: Sequence[str] = ()) -> None:
        """The test set, seen once, by the files that would be exported: of the winner, the best of the search, and the anchors.

        With a second objective for all finalists: each may be the best for a budget of its own (`nas best`). Weights that were
        trained anew, by the keys `again_for`, are tested anew.
        """
        import torch

        from evaluators.training.deployed import deployed_scores

        finals, done = self._study.notes("final"), self._study.notes("test")
        again, measured = self._study.notes("again"), self._study.notes("measured")
        means = over_seeds(finals, again)
        leaders = [best_found(means, measured, self._promise, origin) for origin in ("search", "random")]
        leaders += [i for i, final in finals.items() if self._config.cost and final["origin"] == "search"]
        anchors = [i for i, final in finals.items() if final["origin"].startswith("anchor:")]
        chosen = [i for i in [*anchors, *leaders] if i and "accuracy" in means[i]]
        trained = {i: finals[i] for i in chosen if "accuracy" in finals[i]}
        trained |= {key: r for key, r in again.items() if key.partition("/")[0] in chosen and "accuracy" in r}
        todo = [key for key in trained if key not in done or key in again_for]
        self._view.phase("test", len(todo))
        for key in todo:
            genotype, weights = Genotype.parse(trained[key]["genotype"]), self._weights(key)
            task = self._task.of(genotype)
            images = self._setting().images("test", task.input, torch.device("cpu"))
            scores = asdict(deployed_scores(load_network(genotype, task, weights), task, images, processors()))
            self._study.note(f"test:{key}", {"accuracy": scores[self._config.metric], "pictures": len(images), **scores})
            self._view.step()

    def _carry_out(self, title: str, candidates: Proposals) -> None:
        """Candidates are trained or scored, in a phase of their own; making a scorer may take a phase before it."""
        executor = self._for_candidates() if candidates.has_more() else None
        self._view.phase(title, candidates.total, candidates.done_before)
        if executor:
            executor.run(candidates)

    def _for_candidates(self) -> Executor:
        if self._make_scorer is None:
            return self._for_training()
        if self._scorer is None:
            self._scorer = self._make_scorer(self._setting(), self._view)
        return self._scorer

    def _for_training(self) -> Executor:
        if self._executor is None:
            self._executor = self._make_executor(self._setting())
        return self._executor

    def _train_jobs(self, source: Any) -> None:
        self._for_training().run(source)

    def _setting(self) -> Setting:
        config = self._config
        threads = max(1, processors() // (config.workers or 1))
        return Setting(self._dataset, tuple(config.mean), tuple(config.std), config.metric, threads, self._donor)

    def _note_time(self) -> None:
        self._study.note(f"session:{self._session}", {"seconds": round(time.monotonic() - self._started, 1)})


def _figures_of(note: Mapping[str, Any]) -> dict[str, Any]:
    """The estimates that a retraining's note keeps."""
    return Estimate.from_json(note).as_json()


def _pixels(known: Anchor) -> int:
    """Of its input."""
    return math.prod((known.genotype.input or known.task.input)[1:])


def _predicted(estimate: Estimate) -> str:
    if not estimate.covered:
        return "the device profile does not cover it"
    return f"{estimate.predicted_ms:.2f} ms predicted, bound {estimate.bound_ms:.2f} ms"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
