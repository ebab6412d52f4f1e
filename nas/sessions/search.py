"""Start or resume a search: options, run folder, stages, report."""

import os
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.data.preprocess import per_channel
from evaluators.latency.device.local_device import LOCALS
from evaluators.processors import processors
from evaluators.training.recipe import Recipe, load_recipe
from nas import samplers
from nas.budget.device import device_at, is_elsewhere, known_profile, precision_of, predictor_of
from nas.budget.estimator import Estimator
from nas.budget.survey import lines, refuse_sizes, survey
from nas.executors import evaluators
from nas.executors.address import check_address
from nas.progress import Progress
from nas.records import Survey
from nas.run.config import Resolved, SearchConfig
from nas.run.donor import donor_for, inheriting
from nas.run.folder import Run, check_free, create, open_run
from nas.run.lock import Lock
from nas.run.memory import read_journal
from nas.run.resuming import check_data, versions_changed
from nas.run.teacher import Teacher, find_teacher
from nas.run.tensorboard import check_tensorboard
from nas.sessions.inputs import absolute, load_data
from nas.sessions.measure import config_of, measured
from nas.signals import Lost
from search_spaces.anchor import anchor
from search_spaces.errors import InputError, os_reason
from search_spaces.schema import checked
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space, space_text

if TYPE_CHECKING:
    from evaluators.data import Dataset
    from evaluators.inheritance.donor import Donor


def start(asked: SearchConfig, path: Path | None, progress: Progress) -> Run:
    """Run a new search in folder `path`, up to report and export.

    Raises InputError for anything the user can fix.
    """
    config = checked(SearchConfig, asdict(asked), "search")
    if not config.budget_text:
        raise InputError("no budget: give --latency-budget 20ms, --size-budget 500KB or --memory-budget 256KB, or several")
    donor = donor_for(config.weights, config.from_scratch, config.download)
    space = inheriting(load_space(config.space).with_anchors(config.anchors), donor)
    recipes, teacher = _recipes(config, donor), _teacher(config, space)
    samplers.check(config.sampler)
    check_tensorboard(config.tensorboard)
    _check_cluster(config)
    path = path or default_run_folder(space.name, config.budget_text)
    check_free(path)
    config = replace(config, device=device_at(config.device, config.precision))
    known = _profile_for_search(config, space)
    dataset = load_data(
        progress,
        config.data,
        space.inputs,
        fit=config.fit,
        interpolation=donor.interpolation if donor else "bilinear",
        download=config.download,
    )
    if known is None:
        precision = LOCALS[config.device]
        refuse_sizes(space, len(dataset.classes), precision, config.limits(precision))
    profile = known or measured(progress, space, config_of(config.device), anew=False)
    _refuse_size(config, profile)
    found = _survey(progress, space, len(dataset.classes), profile, config)
    if teacher:
        teacher.check(space.task(len(dataset.classes)))
    resolved = replace(_resolved(config, space, donor, dataset, recipes), precision=precision_of(profile))
    config = replace(config, data=absolute(config.data))
    run = create(path, config, resolved, space_text(config.space), profile, teacher=teacher, donor=donor)
    _work(progress, run, dataset, found)
    return run


def _check_cluster(config: SearchConfig) -> None:
    """Raise InputError for a cluster that does not answer, or that would not be used."""
    if not config.address:
        return
    if config.workers == 0:
        raise InputError("--workers 0 trains in this process, not on the cluster at --address; leave out one of them")
    check_address(config.address)


def _recipes(config: SearchConfig, donor: "Donor | None") -> tuple[Recipe, Recipe]:
    """Recipes of candidates and of finalists; if candidates are not trained, their score counts as one epoch."""
    trains = evaluators.load(config.evaluator).TRAINS
    first_name, final_name = ("finetune" if donor and trains else "proxy"), ("finetune_final" if donor else "final")
    weigh = config.class_weights
    first = load_recipe(config.recipe or first_name, config.epochs, class_weights=weigh)
    final = load_recipe(config.final_recipe or final_name, config.final_epochs, class_weights=weigh)
    if first.surgery or final.surgery:
        raise InputError("a recipe with a surgery changes the networks that a search compares; use it in `nas train`")
    return (first if trains else replace(first, epochs=1)), final


def _teacher(config: SearchConfig, space: SearchSpace) -> Teacher | None:
    return find_teacher(config.distill, space.overall_stride, space.input, space.padding) if config.distill else None


def _resolved(
    config: SearchConfig, space: SearchSpace, donor: "Donor | None", dataset: "Dataset", recipes: tuple[Recipe, Recipe]
) -> Resolved:
    mean, std = (donor.mean, donor.std) if donor else dataset.mean_std()
    asked_for = {anchor(name).name for name in config.anchors}
    return Resolved(
        space=space.name,
        classes=list(dataset.classes),
        mean=list(per_channel(mean, space.input[0])),
        std=list(per_channel(std, space.input[0])),
        interpolation=dataset.interpolation,
        depth=dataset.depth,
        padding=space.padding,
        donor=donor.name if donor else None,
        workers=processors() if config.workers is None and not config.address else config.workers,
        recipe=recipes[0],
        final_recipe=recipes[1],
        anchors=[name for name in space.anchors if name in asked_for],
        fingerprint=dataset.fingerprint,
    )


def resume(path: Path, workers: int | None, progress: Progress) -> Run:
    """Resume a run from its journal."""
    run = open_run(path)
    check_tensorboard(run.config.tensorboard)
    if workers is not None:
        run = replace(run, resolved=replace(run.resolved, workers=workers))
    if run.config.address and run.resolved.workers != 0:
        check_address(run.config.address)
    config, known = run.config, run.resolved
    read_journal(run.journal)  # fails early if it is damaged, before the data set is read
    if changed := versions_changed(run.versions):
        progress.say(changed)
    inputs = run.space().inputs
    dataset = load_data(progress, config.data, inputs, fit=config.fit, interpolation=known.interpolation)
    check_data(path, config.data, known.classes, known.fingerprint, dataset)
    _work(progress, run, dataset)
    return run


def _profile_for_search(config: SearchConfig, space: SearchSpace) -> Path | None:
    """`known_profile`; the device may be remote only with --no-measure."""
    try:
        return known_profile(config.device, space, anywhere=not config.measure)
    except InputError as error:
        if config.measure and is_elsewhere(config.device):
            hint = "use `--no-measure` to search by predicted latency alone"
            raise InputError(f"{error}; {hint}") from None
        raise


def _refuse_size(config: SearchConfig, profile: Path) -> None:
    """Raise InputError for a size budget where the size of a quantised file is not known before it is written."""
    from evaluators.latency.device.profile_files import load_profile
    from evaluators.latency.runtime import quantiser_of
    from evaluators.quantisers import load_quantiser

    device = load_profile(str(profile), anywhere=True).device
    if config.size_budget_bytes is None or device.dtype == "float32":
        return
    quantiser = load_quantiser(quantiser_of(device.runtime))
    if not quantiser.WHOLE:
        raise InputError(
            f"how large {quantiser.TITLE}'s files are is not known before a network is quantised; "
            "leave out --size-budget, or use a device that is measured in onnxruntime_int8"
        )


def _work(progress: Progress, run: Run, dataset: "Dataset", found: Survey | None = None) -> None:
    from evaluators.inheritance.donor import load_donor
    from nas.export.files import export
    from nas.export.quantised import quantisation_of
    from nas.pipeline.search import Search
    from nas.pipeline.state import State
    from nas.report import files
    from nas.report.page.write import write_page

    lock = Lock(run.path)
    try:
        progress.say(f"Run folder: {run.path}")
        config = run.config
        predictor = predictor_of(run.device_profile, run.space(), config.confidence, anywhere=not config.measure)
        donor = load_donor(run.donor) if run.resolved.donor else None
        state = State(run, dataset, predictor, _executor(run), progress, donor=donor)
        Search(state, found).run()
        if best := files.write(run)["best"]:
            export(run, best, run.path / "export", quantisation=quantisation_of(run, best, dataset))
        write_page(run, dataset)
    except Lost as lost:
        raise InputError(f"{lost}; no results are lost, continue with: nas resume {run.path}") from None
    except KeyboardInterrupt:
        files.write(run)
        progress.say(f"Stopped. No results are lost, continue with: nas resume {run.path}")
        raise
    except OSError as error:
        raise InputError(f"{os_reason(error)}; all results so far are kept, continue with `nas resume {run.path}`") from None
    finally:
        lock.release()


def _executor(run: Run) -> Any:
    def make(setting: Any) -> Any:
        if run.resolved.workers == 0:
            from nas.executors.in_process import InProcessExecutor

            return InProcessExecutor(setting)
        if not run.config.address:
            # Ray's switch for platforms without clusters: local Ray then listens on loopback only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from nas.executors.ray_tune import RayTuneExecutor

        hint = f"no results are lost, continue with: nas resume {run.path}"
        return RayTuneExecutor(setting, run.resolved.workers, run.config.address, hint)

    return make


def _survey(progress: Progress, space: SearchSpace, classes: int, profile: Path, config: SearchConfig) -> Survey:
    """Survey the space for this device and the budgets, and print it; raises InputError if no network fits."""
    from evaluators.latency.device.profile_files import load_profile

    predictor = predictor_of(profile, space, config.confidence, anywhere=not config.measure)
    calibration = load_profile(str(profile), anywhere=True).calibration(space)
    precision = precision_of(profile)
    budget = replace(config.latency_budget(precision), usual=calibration.contention)
    factor = budget.above_quiet(calibration.networks)
    estimator = Estimator(predictor, space.task(classes), budget, factor, precision)
    limits, known = config.limits(precision), space.reference_networks()
    found = survey(space, estimator.estimate, limits, known, budget=config.budget_text)
    for line in filter(None, lines(found, config.budget_text)):
        progress.say(line)
    if config.latency_budget_ms is not None:
        margin = f"{budget.spare:.0%} margin" if budget.measured else "no margin, as latency is not measured"
        progress.say(
            f"Latency limit: {budget.allowed_ms:.4g} ms under typical load ({margin}; typical load is {budget.usual:.0%} "
            "slower than a quiet machine)."
        )
    return found


def default_run_folder(space: str, budget: str) -> Path:
    """Folder of a run without one given; `budget` is the budget as text."""
    name = budget.replace(", ", "-").replace(" ", "")
    return Path("runs") / f"{space}-{name}-{datetime.now():%Y%m%d-%H%M%S}"
