"""`nas search`, `nas resume` and `nas export`: from flags to a run folder, through a search, to the report."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from evaluators.data.preprocess import Fit, per_channel
from evaluators.processors import processors
from evaluators.training.recipe import Metric
from nas import samplers
from nas.budget.device import is_elsewhere, known_profile, predictor_of
from nas.budget.latency_budget import SPARE, LatencyBudget
from nas.budget.survey import Predicted, Survey, survey
from nas.console import make_console
from nas.executors.address import check_address
from nas.run.config import Config, Cost, Evaluator, Percentile
from nas.run.donor import donor_for, inheriting
from nas.run.folder import Run, create, open_run
from nas.run.lock import Lock
from nas.run.memory import read_journal
from nas.run.resuming import check_data, versions_changed
from nas.run.teacher import find_teacher
from nas.sessions.inputs import absolute, load_data
from nas.signals import Lost
from search_spaces.anchor import anchor
from search_spaces.errors import InputError, os_reason
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space, space_text


def start(
    *,
    space_name: str,
    budget_ms: float,
    anchors: tuple[str, ...],
    data: str,
    device: str,
    trials: int,
    seconds: float | None,
    workers: int | None,
    address: str | None,
    seed: int,
    sampler: str,
    cost: Cost | None,
    final_seeds: int,
    baseline: bool,
    finalists: int,
    recipe: str | None,
    final_recipe: str | None,
    epochs: int | None,
    final_epochs: int | None,
    distill: str | None,
    weights: str | None,
    from_scratch: bool,
    fit: Fit,
    metric: Metric,
    rivals: int,
    run_path: Path | None,
    download: bool,
    confidence: float = 0.95,
    percentile: Percentile = 50,
    measure: bool = True,
    evaluator: Evaluator = "training",
    supernet_epochs: int = 20,
) -> None:
    """A new run, from its flags to its report."""
    from evaluators.training.recipe import load_recipe

    console = make_console()
    donor = donor_for(weights, from_scratch, download)
    space = inheriting(load_space(space_name).with_anchors(anchors), donor)
    inherited = donor and evaluator != "supernet"  # weights that candidates share begin at random
    chosen = load_recipe(recipe or ("finetune" if inherited else "proxy"), epochs)
    final = load_recipe(final_recipe or ("finetune_final" if donor else "final"), final_epochs)
    if evaluator == "supernet":
        chosen = replace(chosen, epochs=1)  # a score is one epoch
    teacher = find_teacher(distill, space.overall_stride, space.input, space.padding) if distill else None
    samplers.check(sampler)
    if address:
        check_address(address)
    path = run_path or default_run_folder(space.name, budget_ms)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already; `nas resume {path}` goes on with it, `--run` names another folder")
    known = _profile_for_search(device, space, measure)
    promise = LatencyBudget(budget_ms, percentile, confidence, measure)
    dataset = load_data(console, data, space.inputs, fit, donor.interpolation if donor else "bilinear", download)
    profile = known or measure_device(console, space, device)
    reach = _survey(console, space, len(dataset.classes), profile, promise)
    if teacher:
        teacher.check(space.task(len(dataset.classes)))
    mean, std = (donor.mean, donor.std) if donor else dataset.mean_std()
    config = Config(
        space=space.name,
        budget_ms=budget_ms,
        device=device,
        data=absolute(data),
        classes=list(dataset.classes),
        mean=list(per_channel(mean, space.input[0])),
        std=list(per_channel(std, space.input[0])),
        fit=fit,
        interpolation=dataset.interpolation,
        depth=dataset.depth,
        padding=space.padding,
        donor=donor.name if donor else None,
        metric=metric,
        trials=trials,
        seconds=seconds,
        finalists=finalists,
        rivals=rivals,
        seed=seed,
        sampler=sampler,
        cost=cost,
        final_seeds=final_seeds,
        baseline=baseline,
        workers=workers or (None if address else processors()),
        address=address,
        anchors=[name for name in space.anchors if name in {anchor(a).name for a in anchors}],
        recipe=chosen,
        final_recipe=final,
        distill=distill,
        confidence=confidence,
        percentile=percentile,
        measure=measure,
        evaluator=evaluator,
        supernet_epochs=supernet_epochs,
        fingerprint=dataset.fingerprint,
    )
    _work(console, create(path, config, space_text(space_name), profile, teacher, donor), dataset, reach)


def resume(path: Path, workers: int | None) -> None:
    """Goes on with a run from its journal."""
    console = make_console()
    run = open_run(path)
    if run.config.address:
        check_address(run.config.address)
    if workers:
        run = replace(run, config=replace(run.config, workers=workers))
    config = run.config
    read_journal(run.journal)  # which says what is wrong with it, before the data are read
    if changed := versions_changed(run.versions):
        console.print(changed, highlight=False)
    dataset = load_data(console, config.data, run.space().inputs, config.fit, config.interpolation, False)
    check_data(path, config.data, config.classes, config.fingerprint, dataset)
    _work(console, run, dataset)


def _profile_for_search(device: str, space: SearchSpace, measure: bool) -> Path | None:
    """`known_profile`, also of a device that is elsewhere when nothing is to be measured; else refused by the flag's name."""
    try:
        return known_profile(device, space, anywhere=not measure)
    except InputError as error:
        if measure and is_elsewhere(device):
            hint = "`--no-measure` searches by its predictions alone, and measures nothing"
            raise InputError(f"{error}; {hint}") from None
        raise


def measure_device(console: Console, space: SearchSpace, device: str) -> Path:
    """Measures this machine for a space with a progress bar; returns the profile's file."""
    from nas.sessions.measure import measured

    return measured(console, space, device, anew=False)


def _work(console: Console, run: Run, dataset: Any, reach: Survey | None = None) -> None:
    from evaluators.inheritance.donor import load_donor
    from nas.export.files import export
    from nas.pipeline.search import Search
    from nas.progress import ConsoleView
    from nas.report import files, table

    lock = Lock(run.path)
    try:
        console.print(f"Run folder: {run.path}", highlight=False)
        config = run.config
        predictor = predictor_of(run.device_profile, run.space(), config.confidence, anywhere=not config.measure)
        with ConsoleView(console) as view:
            kept = asdict(reach) if reach else None
            donor = load_donor(run.donor) if config.donor else None
            Search(run, dataset, predictor, _executor(run), view, reach=kept, scorer=_scorer(run), donor=donor).run()
        found = files.write(run)
        table.show(console, found)
        if found["best"]:
            export(run, found["best"], run.path / "export")
            console.print(f"Ready to deploy: {run.path / 'export'}", highlight=False)
        elif run.config.measure:
            raise InputError("no network held the budget when it was measured; try a larger budget or more trials")
        else:
            raise InputError("no network could be trained whose predicted bound is in the budget; try more trials")
    except Lost as lost:
        raise InputError(f"{lost}; nothing is lost: nas resume {run.path}") from None
    except KeyboardInterrupt:
        files.write(run)
        console.print(f"Stopped. Nothing is lost: nas resume {run.path}", highlight=False)
        raise
    except OSError as error:
        raise InputError(f"{os_reason(error)}; what was learnt until now is kept, `nas resume {run.path}` goes on") from None
    finally:
        lock.release()


def _executor(run: Run) -> Any:
    def make(setting: Any) -> Any:
        if not run.config.address:
            # Ray's switch for platforms without clusters: this machine's Ray then listens on the loopback only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from nas.executors.ray_tune import RayTuneExecutor

        return RayTuneExecutor(setting, run.config.workers, run.config.address)

    return make


def _scorer(run: Run) -> Any:
    """What scores candidates instead of training them, if that was asked for."""

    def make(setting: Any, view: Any) -> Any:
        from nas.executors.supernet import SupernetExecutor

        recipe = replace(run.config.recipe, epochs=run.config.supernet_epochs)
        return SupernetExecutor(setting, run.space(), recipe, run.config.seed, run.supernet, view)

    return make if run.config.evaluator == "supernet" else None


def _survey(console: Console, space: SearchSpace, classes: int, profile: Path, promise: LatencyBudget) -> Survey:
    """What the budget means in this space on this device for so many classes, printed; InputError when nothing can hold it."""
    from evaluators.latency.profile import load_profile

    predictor = predictor_of(profile, space, promise.confidence, anywhere=not promise.measured)
    task = space.task(classes)
    calibration = load_profile(str(profile), anywhere=True).calibration(space)
    promise = replace(promise, usual=calibration.contention)
    wider = promise.above_quiet(calibration.networks)

    def predict(genotypes: Sequence[Genotype]) -> list[Predicted | None]:
        return [p and Predicted(p.ms * wider, p.bound_ms * wider, p.reliable) for p in predictor.covered(genotypes, task)]

    spare = SPARE if promise.measured else 0.0
    reach = survey(space, predict, promise.budget_ms, space.reference_networks(), spare=spare)
    for line in filter(None, reach.lines()):
        console.print(line, highlight=False)
    console.print(
        f"Within {promise.budget_ms:g} ms is what takes {promise.allowed_ms:.4g} ms at most while the machine is as busy as it "
        f"usually is ({promise.usual:.0%} slower than at its quietest).",
        highlight=False,
    )
    return reach


def default_run_folder(space: str, budget_ms: float) -> Path:
    return Path("runs") / f"{space}-{budget_ms:g}ms-{datetime.now():%Y%m%d-%H%M%S}"
