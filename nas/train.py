"""`nas train`: one network trained at full length, with checkpoints; its folder, what goes on in it, its result.

train.yaml            everything resolved: network, data and its fingerprint, recipe, seed, versions, machine
genotype.txt          the network
donor/                where there is one: the network that it inherits from
begin.safetensors     or the weights that it goes on from
teacher/              where there is one: its genotype, and its weights as given or as trained first
checkpoint-EPOCH/     the newest finished epoch, until the training is over
curve.json            loss, validation accuracy, seconds of each epoch
weights.safetensors   what was trained
result.json export/   the result, and the files to deploy
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import AfterValidator, Field
from rich.console import Console

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing, per_channel
from evaluators.training.recipe import Metric, Recipe, load_recipe
from evaluators.training.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.console import make_console
from nas.describe import find_run
from nas.export import Trained, export_trained
from nas.resuming import check_data, versions_changed
from nas.run import DONOR, Lock, is_running, machine, versions
from nas.teacher import TEACHER, Teacher, find_teacher
from nas.view import ConsoleView
from search_spaces import resources
from search_spaces.durable import replace_file
from search_spaces.errors import InputError, quoted
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype, read_genotype
from search_spaces.schema import Means, Seed, Stds, checked, strict
from search_spaces.task import Input, Task, input_text, parse_input

if TYPE_CHECKING:
    from evaluators.data import Dataset, Split
    from evaluators.inheritance.donor import Donor
    from evaluators.training.batches import Pictures
    from search_spaces.network import Network

FORMAT = 5
PLAN, CURVE, RESULT = "train.yaml", "curve.json", "result.json"
BEGIN = "begin.safetensors"


def _an_input(input: list[int]) -> list[int]:
    return list(parse_input("x".join(map(str, input))))


@strict
@dataclass(frozen=True)
class Plan:
    """What was asked for, with every default resolved.

    `input` is (channels, height, width); `fit`, `interpolation`, `depth`, `mean` and `std` say how images are brought to it.
    `begins` says in words what the weights are at first, `distill` is the teacher's name, `fingerprint` that of the data set.
    """

    network: str
    data: str
    classes: Annotated[list[str], Field(min_length=1)]
    input: Annotated[list[int], AfterValidator(_an_input)]
    fit: Fit
    interpolation: Interpolation
    mean: Means
    std: Stds
    seed: Seed
    recipe: Recipe
    metric: Metric
    begins: str
    distill: str | None
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    fingerprint: dict[str, int | str] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        channels, height, width = self.input
        return Task((channels, height, width), len(self.classes))

    @property
    def preprocessing(self) -> Preprocessing:
        mean, std = tuple(self.mean), tuple(self.std)
        return Preprocessing(self.task.input, self.fit, self.interpolation, mean, std, depth=self.depth)


@strict
@dataclass(frozen=True)
class _PlanFile:
    """train.yaml as it is read and written."""

    format: int
    machine: str
    versions: dict[str, str]
    plan: Plan


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
    from nas.describe import find_network
    from nas.session import absolute, load_data

    console = make_console()
    title, found, _, task = find_network(what, space_name, None)
    begin = _begin(what, found, weights, from_scratch, download)
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
    _check_classes(begin, dataset.classes)
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
    _create(folder, plan, genotype, teacher, begin)
    _work(console, folder, plan, dataset)


@dataclass(frozen=True)
class _Begin:
    """What a training begins with: the weights in a file, with their classes and normalisation, or a donor, or neither."""

    words: str
    weights: Path | None = None
    classes: tuple[str, ...] = ()
    mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    interpolation: Interpolation = "bilinear"
    donor: "Donor | None" = None

    @property
    def random(self) -> bool:
        return self.weights is None and self.donor is None


def _begin(what: str, genotype: Genotype, weights: str | None, from_scratch: bool, download: bool) -> _Begin:
    """The weights that a run left for this very network, unless others are asked for; else the donor's."""
    from nas.session import donor_for

    run, _ = find_run(what)
    if run and not (weights or from_scratch) and (left := run.weights(genotype.id)).is_file():
        config = run.config
        known = tuple(config.mean), tuple(config.std)
        return _Begin(f"the weights of {run.name}", left, tuple(config.classes), known, config.interpolation)
    donor = donor_for(weights, from_scratch, download)
    if donor is None:
        return _Begin("at random")
    return _Begin(f"inherited from {donor.name}", None, (), (donor.mean, donor.std), donor.interpolation, donor)


def _check_classes(begin: _Begin, classes: tuple[str, ...]) -> None:
    if begin.weights and begin.classes != classes:
        raise InputError(
            f"{begin.words} are for {len(begin.classes)} classes ({', '.join(begin.classes[:5])} ...), the data have "
            f"{len(classes)} ({', '.join(classes[:5])} ...); --weights FOLDER inherits all but the classifier"
        )


def _sized(input: Input, size: str | None) -> Input:
    """The network's input, or another size with as many channels."""
    return parse_input(f"{input[0]}x{size if 'x' in size else f'{size}x{size}'}") if size else input


def is_training(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def resume(folder: Path) -> None:
    """Goes on with a training after its last finished epoch; one that is over is shown again, while its weights are there."""
    from nas.session import load_data

    console, (plan, began_with) = make_console(), _read_plan(folder)
    if (folder / RESULT).is_file() and (folder / WEIGHTS).is_file():
        _show(console, json.loads((folder / RESULT).read_text()), folder)
        return
    if changed := versions_changed(began_with):
        console.print(changed, highlight=False)
    dataset = load_data(console, plan.data, [plan.task.input], plan.fit, plan.interpolation, False)
    check_data(folder, plan.data, plan.classes, plan.fingerprint, dataset)
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
    return _read_plan(folder)[0]


def _read_plan(folder: Path) -> tuple[Plan, dict[str, str]]:
    """The plan, and the versions that the training began with."""
    file = folder / PLAN
    data = resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
    if data.get("format") != FORMAT:
        raise InputError(f"{file}: format {quoted(data.get('format'))}, but this version reads format {FORMAT}")
    found = checked(_PlanFile, data, f"{file}: damaged")
    return found.plan, found.versions


def _data(what: str, data: str | None, fit: Fit | None) -> tuple[str, Fit]:
    """Data set and fit, as given, or those of the run whose network is trained."""
    run, _ = find_run(what) if data is None else (None, "")
    return (run.config.data, fit or run.config.fit) if run else (data or "fashion-mnist-small", fit or "crop")


def _check_free(folder: Path) -> None:
    if is_training(folder):
        raise InputError(f"{folder} exists already; `nas resume {folder}` goes on with it, `--to` names another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already and is no training; `--to` names another folder")


def _create(folder: Path, plan: Plan, genotype: Genotype, teacher: Teacher | None, begin: _Begin) -> None:
    """The folder, with all that a resumption needs, whole or not there."""
    facts = asdict(_PlanFile(FORMAT, machine(), versions(), plan))
    with made_whole(folder, "folder") as part:
        (part / GENOTYPE).write_text(genotype.text, encoding="utf-8")
        (part / PLAN).write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
        if teacher:
            teacher.place(part / TEACHER)
        if begin.donor:
            begin.donor.save(part / DONOR)
        if begin.weights:
            shutil.copyfile(begin.weights, part / BEGIN)


def _work(console: Console, folder: Path, plan: Plan, dataset: "Dataset") -> None:
    lock = Lock(folder)
    try:
        console.print(f"Folder: {folder}", highlight=False)
        with ConsoleView(console) as view:
            fitting = _Fitting(folder, plan, dataset, view)
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
    """Trains the networks of one plan on its data; `folder` is the training's."""

    def __init__(self, folder: Path, plan: Plan, dataset: "Dataset", view: ConsoleView) -> None:
        from evaluators.training.loop import training_device

        self._folder, self._plan, self._view, self._device = folder, plan, view, training_device()
        self._train, self._validation = self.pictures(dataset.train), self.pictures(dataset.validation)

    def pictures(self, split: "Split") -> "Pictures":
        from evaluators.training.batches import Pictures

        return Pictures.of(split, self._plan.preprocessing, self._device)

    def _begun(self, network: "Network", folder: Path) -> int:
        """Brings the new network of a folder to the beginning of its training: with weights that are there, or a donor's.

        How many of its first blocks are trained already.
        """
        from evaluators.inheritance.donor import load_donor
        from evaluators.training.finetune import Beginnings
        from evaluators.training.weights import load_weights

        if (folder / BEGIN).is_file():
            load_weights(network, folder / BEGIN)
            return len(network.blocks)
        if (self._folder / DONOR).is_dir():
            beginnings = Beginnings(load_donor(self._folder / DONOR), self._plan.metric)
            found = beginnings.begin(network, self._train, self._plan.seed)
            self._view.say(f"{found.share:.0%} of the weights inherited; linear probe {found.accuracy:.2%}")
            return found.ready
        return 0

    def fit(self, folder: Path, title: str, teacher: Path | None) -> None:
        """Trains the genotype in `folder` from its newest checkpoint until its weights are there."""
        from evaluators.training.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
        from evaluators.training.distill import load_teacher
        from evaluators.training.loop import Training, TrainingFailed, seeded_network

        if (folder / WEIGHTS).is_file():
            return
        plan = self._plan
        network, generator = seeded_network(read_genotype(folder / GENOTYPE), plan.task, plan.seed, self._device)
        taught = load_teacher(teacher, plan.task, self._device, (tuple(plan.mean), tuple(plan.std))) if teacher else None
        ready = self._begun(network, folder)
        training = Training(network, self._train, self._validation, plan.recipe, generator, taught, plan.metric, ready)
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
    from evaluators.cost import cost
    from evaluators.deployed import deployed_scores
    from evaluators.processors import processors

    genotype, curve = read_genotype(folder / GENOTYPE), _curve(folder)
    scores = asdict(deployed_scores(load_network(genotype, plan.task, folder / WEIGHTS), plan.task, test, processors()))
    trained = Trained(
        genotype=genotype,
        weights=folder / WEIGHTS,
        classes=plan.classes,
        preprocessing=plan.preprocessing,
        metric=plan.metric,
        validation=curve[-1]["accuracy"],
        test=scores[plan.metric],
    )
    export_trained(trained, folder / "export")
    figures = cost(genotype, plan.task)
    found = {
        "format": FORMAT,
        "network": plan.network,
        "id": genotype.id,
        "genotype": genotype.text,
        "data": plan.data,
        "pictures": {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "input": plan.input,
        "begins": plan.begins,
        "params": figures.params,
        "macs": figures.macs,
        "recipe": asdict(plan.recipe),
        "seed": plan.seed,
        "distilled_from": plan.distill,
        "teacher_epochs": _curve(folder / TEACHER),
        "metric": plan.metric,
        "validation_accuracy": curve[-1]["accuracy"],
        "test_accuracy": scores[plan.metric],
        "test_scores": scores,
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
    taught = f", taught by {found['distilled_from']}" if found["distilled_from"] else ""
    console.print(f"{found['network']}: test {found['test_accuracy']:.2%}", style="bold", highlight=False)
    console.print(
        f"Validation {found['validation_accuracy']:.2%} after {len(found['epochs'])} epochs, one seed{taught}; trained in "
        f"{found['training_seconds'] / 60:.1f} min; test part of {found['pictures']['test']:,} pictures used once.",
        highlight=False,
    )
    console.print(
        f"Weights at first: {found['begins']}. Trained, tested and exported at {input_text(tuple(found['input']))}.",
        highlight=False,
    )
    console.print(f"Ready to deploy: {folder / 'export'}", highlight=False)


def _default_folder(what: str) -> Path:
    name = Path(what).stem.replace(":", "-")
    return Path("runs") / f"train-{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _write(path: Path, found: Any) -> None:
    replace_file(path, (json.dumps(found, indent=2) + "\n").encode())
