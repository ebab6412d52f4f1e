"""`nas train`: one network trained at full length, begun or resumed."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evaluators.data.preprocess import Fit, per_channel
from evaluators.training.recipe import Metric, load_recipe
from evaluators.weights import WEIGHTS
from nas.console import make_console
from nas.progress import ConsoleView
from nas.run.find import find_run
from nas.run.lock import Lock
from nas.run.resuming import check_data, versions_changed
from nas.run.teacher import TEACHER, find_teacher
from nas.training.begin import check_classes, create, find_begin
from nas.training.fitting import Fitting, finish
from nas.training.plan import RESULT, Plan, is_training, read_plan
from nas.training.summary import show
from search_spaces.errors import InputError
from search_spaces.task import Input, parse_input

if TYPE_CHECKING:
    from evaluators.data import Dataset


def start(
    *,
    what: str,
    data: str | None,
    weights: str | None,
    from_scratch: bool,
    recipe: str | None,
    epochs: int | None,
    size: str | None,
    fit: Fit | None,
    metric: Metric,
    seed: int,
    distill: str | None,
    space_name: str,
    folder: Path | None,
    download: bool,
) -> None:
    """A new training, from its flags to its result."""
    from nas.report.find import find_network
    from nas.sessions.inputs import absolute, load_data

    console = make_console()
    title, found, _, task = find_network(what, space_name, None)
    begin = find_begin(what, found, weights, from_scratch, download)
    genotype = found.at(_sized(task.input, size))
    padding = begin.donor.padding if begin.donor else "symmetric"
    genotype = genotype if padding == "symmetric" else genotype.padded(padding)
    chosen = load_recipe(recipe or ("full" if begin.random else "finetune_final"), epochs)
    teacher = find_teacher(distill, input=genotype.input, padding=padding) if distill else None
    folder = folder or _default_folder(what)
    _check_free(folder)
    data, fit = _data(what, data, fit)
    assert genotype.input is not None
    dataset = load_data(console, data, [genotype.input], fit, begin.interpolation, download)
    check_classes(begin, dataset.classes)
    mean, std = begin.mean_std or dataset.mean_std()
    plan = Plan(
        network=title,
        data=absolute(data),
        classes=list(dataset.classes),
        input=list(genotype.input),
        fit=fit,
        interpolation=dataset.interpolation,
        depth=dataset.depth,
        mean=list(per_channel(mean, genotype.input[0])),
        std=list(per_channel(std, genotype.input[0])),
        seed=seed,
        recipe=chosen,
        metric=metric,
        begins=begin.words,
        distill=distill,
        fingerprint=dataset.fingerprint,
    )
    if teacher:
        teacher.check(plan.task)
    create(folder, plan, genotype, teacher, begin)
    _work(console, folder, plan, dataset)


def _sized(input: Input, size: str | None) -> Input:
    """The network's input, or another size with as many channels."""
    return parse_input(f"{input[0]}x{size if 'x' in size else f'{size}x{size}'}") if size else input


def resume(folder: Path) -> None:
    """Goes on with a training after its last finished epoch; one that is over is shown again, while its weights are there."""
    from nas.sessions.inputs import load_data

    console, (plan, began_with) = make_console(), read_plan(folder)
    if (folder / RESULT).is_file() and (folder / WEIGHTS).is_file():
        show(console, json.loads((folder / RESULT).read_text()), folder)
        return
    if changed := versions_changed(began_with):
        console.print(changed, highlight=False)
    dataset = load_data(console, plan.data, [plan.task.input], plan.fit, plan.interpolation, False)
    check_data(folder, plan.data, plan.classes, plan.fingerprint, dataset)
    _work(console, folder, plan, dataset)


def _data(what: str, data: str | None, fit: Fit | None) -> tuple[str, Fit]:
    """Data set and fit, as given, or those of the run whose network is trained."""
    run, _ = find_run(what) if data is None else (None, "")
    return (run.config.data, fit or run.config.fit) if run else (data or "fashion-mnist-small", fit or "crop")


def _check_free(folder: Path) -> None:
    if is_training(folder):
        raise InputError(f"{folder} exists already; `nas resume {folder}` goes on with it, `--to` names another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already and is no training; `--to` names another folder")


def _work(console: Console, folder: Path, plan: Plan, dataset: "Dataset") -> None:
    lock = Lock(folder)
    try:
        console.print(f"Folder: {folder}", highlight=False)
        with ConsoleView(console) as view:
            fitting = Fitting(folder, plan, dataset, view)
            teacher = folder / TEACHER if plan.distill else None
            if teacher:
                fitting.fit(teacher, f"train the teacher {plan.distill}", None)
            fitting.fit(folder, "train", teacher)
        show(console, finish(folder, plan, dataset, fitting.pictures(dataset.test)), folder)
    except KeyboardInterrupt:
        console.print(f"Stopped. The finished epochs are kept: nas resume {folder}", highlight=False)
        raise
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}; `nas resume {folder}` goes on") from None
    finally:
        lock.release()


def _default_folder(what: str) -> Path:
    name = Path(what).stem.replace(":", "-")
    return Path("runs") / f"train-{name}-{datetime.now():%Y%m%d-%H%M%S}"
