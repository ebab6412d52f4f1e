"""`nas train`: one network trained at full length, with checkpoints; its folder, what goes on in it, its result.

train.yaml            everything resolved: network, data, recipe, seed, versions, machine
genotype.txt          the network
teacher/              where there is one: its genotype, and its weights as given or as trained first
checkpoint-EPOCH/     the newest finished epoch, until the training is over
curve.json            loss, validation accuracy, seconds of each epoch
weights.safetensors   what was trained
result.json export/   the result, and the files to deploy
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from evaluators.training.recipe import Recipe, load_recipe, recipe_of
from evaluators.training.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.console import make_console
from nas.describe import find_run
from nas.export import Trained, export_trained
from nas.run import Lock, is_running, machine, versions
from nas.teacher import TEACHER, Teacher, find_teacher
from nas.view import ConsoleView
from search_spaces import resources
from search_spaces.errors import InputError
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype, read_genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from evaluators.data import Dataset, Split
    from evaluators.training.batches import Pictures

FORMAT = 2
PLAN, CURVE, RESULT = "train.yaml", "curve.json", "result.json"


@dataclass(frozen=True)
class Plan:
    """What was asked for, with every default resolved.

    `deployment_input` is (channels, height, width), `train_size` the side of the training pictures, pixels; `distill` is
    the teacher's name.
    """

    network: str
    data: str
    classes: list[str]
    train_size: int
    deployment_input: list[int]
    seed: int
    recipe: Recipe
    distill: str | None

    @property
    def deploy(self) -> Task:
        channels, height, width = self.deployment_input
        return Task((channels, height, width), len(self.classes))

    @property
    def task(self) -> Task:
        return self.deploy.at(self.train_size)


def start(
    *,
    what: str,
    data: str | None,
    recipe: str,
    epochs: int | None,
    train_size: int | None,
    seed: int,
    distill: str | None,
    space_name: str,
    folder: Path | None,
    download: bool,
) -> None:
    """A new training, from its flags to its result."""
    from nas.describe import find_network
    from nas.session import absolute, load_data

    console = make_console()
    title, genotype, _, deploy = find_network(what, space_name, None)
    chosen, teacher = load_recipe(recipe, epochs), find_teacher(distill) if distill else None
    folder = folder or _default_folder(what)
    _check_free(folder)
    data, train_size = _data(what, data, train_size)
    dataset = load_data(console, data, train_size, max(deploy.input[1:]), download)
    plan = Plan(
        network=title,
        data=absolute(data),
        classes=list(dataset.classes),
        train_size=dataset.inputs[0][1],
        deployment_input=list(deploy.input),
        seed=seed,
        recipe=chosen,
        distill=distill,
    )
    if teacher:
        teacher.check(plan.task)
    _create(folder, plan, genotype, teacher)
    _work(console, folder, plan, dataset)


def is_training(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def resume(folder: Path) -> None:
    """Goes on with a training after its last finished epoch; one that is over is shown again."""
    from nas.session import load_data

    console, plan = make_console(), open_plan(folder)
    if (folder / RESULT).is_file():
        _show(console, json.loads((folder / RESULT).read_text()), folder)
        return
    dataset = load_data(console, plan.data, plan.train_size, max(plan.deployment_input[1:]), False)
    _work(console, folder, plan, dataset)


def status(folder: Path) -> None:
    """How far a training is; read from its folder, also while another process works on it."""
    console, plan = make_console(), open_plan(folder)
    if (folder / RESULT).is_file():
        _show(console, json.loads((folder / RESULT).read_text()), folder)
        return
    doing = "at work" if is_running(folder) else f"interrupted; `nas resume {folder}` goes on"
    console.print(f"{folder}: {doing}", highlight=False)
    for place, what in ((folder / TEACHER, f"teacher {plan.distill}"), (folder, plan.network)):
        if curve := _curve(place):
            console.print(
                f"{what}: {len(curve)} of {plan.recipe.epochs} epochs, {curve[-1]['accuracy']:.2%} on validation",
                highlight=False,
            )


def open_plan(folder: Path) -> Plan:
    """The plan in a folder; raises InputError when it is damaged, or another version made it."""
    file = folder / PLAN
    data = resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
    if data.get("format") != FORMAT:
        raise InputError(f"{file}: format {data.get('format')}, but this version reads format {FORMAT}")
    try:
        settings = dict(data["plan"])
        return Plan(**settings | {"recipe": recipe_of(settings["recipe"], str(file))})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged: {error}") from None


def _data(what: str, data: str | None, train_size: int | None) -> tuple[str, int | None]:
    """Data set and size, as given, or those of the run whose network is trained."""
    run, _ = find_run(what) if data is None else (None, "")
    if run:
        return run.config.data, train_size or run.config.train_size
    return data or "fashion-mnist-small", train_size


def _check_free(folder: Path) -> None:
    if is_training(folder):
        raise InputError(f"{folder} exists already; `nas resume {folder}` goes on with it, `--to` names another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already and is no training; `--to` names another folder")


def _create(folder: Path, plan: Plan, genotype: Genotype, teacher: Teacher | None) -> None:
    """The folder, with all that a resumption needs, whole or not there."""
    facts = {"format": FORMAT, "machine": machine(), "versions": versions(), "plan": asdict(plan)}
    with made_whole(folder, "folder") as part:
        (part / GENOTYPE).write_text(genotype.text, encoding="utf-8")
        (part / PLAN).write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
        if teacher:
            teacher.place(part / TEACHER)


def _work(console: Console, folder: Path, plan: Plan, dataset: "Dataset") -> None:
    lock = Lock(folder)
    try:
        console.print(f"Folder: {folder}", highlight=False)
        with ConsoleView(console) as view:
            fitting = _Fitting(plan, dataset, view)
            teacher = folder / TEACHER if plan.distill else None
            if teacher:
                fitting.fit(teacher, f"train the teacher {plan.distill}", None)
            fitting.fit(folder, "train", teacher)
        _show(console, _finish(folder, plan, dataset, fitting.pictures(dataset.test)), folder)
    except KeyboardInterrupt:
        console.print(f"Stopped. The finished epochs are kept: nas resume {folder}", highlight=False)
        raise
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}; `nas resume {folder}` goes on") from None
    finally:
        lock.release()


class _Fitting:
    """Trains the networks of one plan on its data."""

    def __init__(self, plan: Plan, dataset: "Dataset", view: ConsoleView) -> None:
        from evaluators.training.loop import training_device

        self._plan, self._view, self._device = plan, view, training_device()
        self._preprocessing = dataset.preprocessing(plan.task.input, *dataset.mean_std())
        self._train, self._validation = self.pictures(dataset.train), self.pictures(dataset.validation)

    def pictures(self, split: "Split") -> "Pictures":
        from evaluators.training.batches import Pictures

        return Pictures.of(split, self._preprocessing, self._device)

    def fit(self, folder: Path, title: str, teacher: Path | None) -> None:
        """Trains the genotype in `folder` from its newest checkpoint until its weights are there."""
        from evaluators.training.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
        from evaluators.training.distill import load_teacher
        from evaluators.training.loop import Training, TrainingFailed, seeded_network

        if (folder / WEIGHTS).is_file():
            return
        plan = self._plan
        network, generator = seeded_network(read_genotype(folder / GENOTYPE), plan.task, plan.seed, self._device)
        taught = load_teacher(teacher, plan.task, self._device) if teacher else None
        training = Training(network, self._train, self._validation, plan.recipe, generator, taught)
        load_checkpoint(training, folder)
        self._view.phase(title, plan.recipe.epochs, len(training.history))
        while not training.finished:
            try:
                epoch = training.epoch()
            except TrainingFailed as error:
                raise InputError(f"{error}; a recipe with a lower learning_rate may help") from None
            save_checkpoint(training, folder)
            _write(folder / CURVE, [asdict(epoch) for epoch in training.history])
            self._view.working(plan.recipe.epochs - epoch.number)
            self._view.step(
                f"epoch {epoch.number:>4}  loss {epoch.loss:7.4f}  validation {epoch.accuracy:7.2%}  {epoch.seconds:6.1f} s"
            )
        save_weights(network, folder / WEIGHTS)
        remove_checkpoints(folder)


def _finish(folder: Path, plan: Plan, dataset: "Dataset", test: "Pictures") -> dict[str, Any]:
    """Tests once, exports, and writes the result, which says that the training is over."""
    import torch

    from evaluators.cost import cost
    from evaluators.training.loop import accuracy, training_device

    genotype, curve = read_genotype(folder / GENOTYPE), _curve(folder)
    network = load_network(genotype, plan.task, folder / WEIGHTS).to(training_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    reached = accuracy(network, test)
    mean, std = dataset.mean_std()
    trained = Trained(
        genotype=genotype,
        weights=folder / WEIGHTS,
        deploy=plan.deploy,
        train_size=plan.train_size,
        classes=plan.classes,
        mean=list(mean),
        std=list(std),
        validation=curve[-1]["accuracy"],
        test=reached,
    )
    export_trained(trained, folder / "export")
    figures = cost(genotype, plan.deploy)
    found = {
        "format": FORMAT,
        "network": plan.network,
        "id": genotype.id,
        "genotype": genotype.text,
        "data": plan.data,
        "pictures": {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "training_input": list(plan.task.input),
        "deployment_input": plan.deployment_input,
        "params": figures.params,
        "macs": figures.macs,
        "recipe": asdict(plan.recipe),
        "seed": plan.seed,
        "distilled_from": plan.distill,
        "teacher_epochs": _curve(folder / TEACHER),
        "validation_accuracy": curve[-1]["accuracy"],
        "test_accuracy": reached,
        "epochs": curve,
        "training_seconds": round(sum(epoch["seconds"] for epoch in curve), 1),
        "machine": machine(),
        "versions": versions(),
    }
    _write(folder / RESULT, found)
    return found


def _curve(folder: Path) -> list[dict[str, Any]]:
    """The epochs that were trained in a folder; none of a teacher that came trained, or where there is none."""
    return json.loads((folder / CURVE).read_text()) if (folder / CURVE).is_file() else []


def _show(console: Console, found: dict[str, Any], folder: Path) -> None:
    side = found["training_input"][-1]
    taught = f", taught by {found['distilled_from']}" if found["distilled_from"] else ""
    console.print(f"{found['network']}: test {found['test_accuracy']:.2%}", style="bold", highlight=False)
    console.print(
        f"Validation {found['validation_accuracy']:.2%} after {len(found['epochs'])} epochs, one seed{taught}; trained in "
        f"{found['training_seconds'] / 60:.1f} min; test part of {found['pictures']['test']:,} pictures used once.",
        highlight=False,
    )
    deploy = "x".join(map(str, found["deployment_input"]))
    differs = "" if found["training_input"] == found["deployment_input"] else "; train at that size before you deploy at it"
    console.print(f"Trained and tested at 3x{side}x{side}; deployment input {deploy}{differs}.", highlight=False)
    console.print(f"Ready to deploy: {folder / 'export'}", highlight=False)


def _default_folder(what: str) -> Path:
    name = Path(what).stem.replace(":", "-")
    return Path("runs") / f"train-{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _write(path: Path, found: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
