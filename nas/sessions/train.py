"""`nas train`: start or resume the full training of one network."""

from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.data.preprocess import per_channel
from evaluators.training.recipe import Recipe, load_recipe
from evaluators.weights import WEIGHTS
from nas.progress import Progress
from nas.report.find import find_network
from nas.run.find import find_run
from nas.run.lock import Lock
from nas.run.resuming import check_data, versions_changed
from nas.run.teacher import TEACHER, find_teacher
from nas.run.tensorboard import check_tensorboard
from nas.sessions.inputs import absolute, load_data
from nas.training.begin import Begin, check_classes, create, find_begin
from nas.training.config import TrainConfig
from nas.training.fitting import Fitting, finish
from nas.training.plan import RESULT, Plan, is_training, read_plan
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.schema import checked
from search_spaces.task import Input, parse_input

if TYPE_CHECKING:
    from evaluators.data import Dataset


def start(asked: TrainConfig, folder: Path | None, progress: Progress) -> Path:
    """Run a new training in `folder`, up to its result and export; returns the folder.

    Raises InputError for anything the user can fix.
    """
    from evaluators.training.surgery import check_surgery  # imports torch

    config = checked(TrainConfig, asdict(asked), "train")
    check_tensorboard(config.tensorboard)
    title, found, _, task = find_network(config.network, config.space, None)
    begin = find_begin(config, found)
    padding = begin.donor.padding if begin.donor else "symmetric"
    genotype = found.at(_resized(task.input, config.input))
    genotype = genotype if padding == "symmetric" else genotype.padded(padding)
    teacher = find_teacher(config.distill, input=genotype.input, padding=padding) if config.distill else None
    name = config.recipe or ("full" if begin.random else "finetune_final")
    recipe = load_recipe(name, config.epochs, class_weights=config.class_weights)
    folder = folder or _default_folder(config.network)
    _check_free(folder)
    config = _with_data(config)
    check_surgery(recipe.surgery, genotype, genotype.task(task.classes))
    plan, dataset = _make_plan(progress, config, (title, genotype), begin, recipe)
    if teacher:
        teacher.check(plan.task)
    create(folder, plan, genotype, teacher, begin)
    _work(progress, folder, plan, dataset)
    return folder


def _make_plan(
    progress: Progress, config: TrainConfig, named: tuple[str, Genotype], begin: Begin, recipe: Recipe
) -> tuple[Plan, "Dataset"]:
    """Load the data set and make the plan."""
    title, genotype = named
    assert genotype.input is not None and config.data and config.fit
    given, fit = genotype.input, config.fit
    dataset = load_data(progress, config.data, [given], fit=fit, interpolation=begin.interpolation, download=config.download)
    check_classes(begin, dataset.classes)
    mean, std = begin.mean_std or dataset.mean_std()
    plan = Plan(
        network=title,
        data=absolute(config.data),
        classes=list(dataset.classes),
        input=list(given),
        fit=fit,
        interpolation=dataset.interpolation,
        depth=dataset.depth,
        mean=list(per_channel(mean, given[0])),
        std=list(per_channel(std, given[0])),
        seed=config.seed,
        recipe=recipe,
        metric=config.metric,
        begins=begin.words,
        distill=config.distill,
        fingerprint=dataset.fingerprint,
        precision=config.precision,
        tensorboard=config.tensorboard,
    )
    return plan, dataset


def _resized(input: Input, size: str | None) -> Input:
    """The input, resized to `size` if given, with the same channels."""
    return parse_input(f"{input[0]}x{size if 'x' in size else f'{size}x{size}'}") if size else input


def resume(folder: Path, progress: Progress) -> Path:
    """Resume a training after its last finished epoch; does nothing if it is finished and its weights exist."""
    plan, began_with = read_plan(folder)
    if (folder / RESULT).is_file() and (folder / WEIGHTS).is_file():
        return folder
    check_tensorboard(plan.tensorboard)
    if changed := versions_changed(began_with):
        progress.say(changed)
    dataset = load_data(progress, plan.data, [plan.task.input], fit=plan.fit, interpolation=plan.interpolation)
    check_data(folder, plan.data, plan.classes, plan.fingerprint, dataset)
    _work(progress, folder, plan, dataset)
    return folder


def _with_data(config: TrainConfig) -> TrainConfig:
    """Fill in data set and fit, from the run whose network is trained or the defaults."""
    run, _ = find_run(config.network) if config.data is None else (None, "")
    if run:
        return replace(config, data=run.config.data, fit=config.fit or run.config.fit)
    return replace(config, data=config.data or "fashion-mnist-small", fit=config.fit or "crop")


def _check_free(folder: Path) -> None:
    if is_training(folder):
        raise InputError(f"{folder} already exists; resume it with `nas resume {folder}`, or choose another folder with `--to`")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not a training; choose another folder with `--to`")


def _work(progress: Progress, folder: Path, plan: Plan, dataset: "Dataset") -> None:
    lock = Lock(folder)
    try:
        progress.say(f"Folder: {folder}")
        fitting = Fitting(folder, plan, dataset, progress)
        teacher = folder / TEACHER if plan.distill else None
        if teacher:
            fitting.fit(teacher, f"train the teacher {plan.distill}", None)
        fitting.fit(folder, "train", teacher)
        finish(folder, plan, dataset, fitting.images(dataset.test), fitting.quantisation)
    except KeyboardInterrupt:
        progress.say(f"Stopped. Finished epochs are kept, continue with: nas resume {folder}")
        raise
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}; continue with `nas resume {folder}`") from None
    finally:
        lock.release()


def _default_folder(what: str) -> Path:
    name = Path(what).stem.replace(":", "-")
    return Path("runs") / f"train-{name}-{datetime.now():%Y%m%d-%H%M%S}"
