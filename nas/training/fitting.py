"""Trains a network from its latest checkpoint, then tests and exports it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evaluators.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.export.files import Trained, export_trained
from nas.progress import Progress
from nas.run.config import DONOR
from nas.run.teacher import TEACHER
from nas.run.tensorboard import in_folder
from nas.run.versions import machine, versions
from nas.training.plan import BEFORE, BEGIN, CURVE, FORMAT, RESULT, Plan, read_curve
from search_spaces.durable import replace_file
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, read_genotype

if TYPE_CHECKING:
    from evaluators.data import Dataset, Split
    from evaluators.quantise import Quantisation
    from evaluators.training.batches import Batches
    from evaluators.training.loop import Epoch
    from search_spaces.network import Network


class Fitting:
    """Trains the networks of a plan (the network and its teacher) in the training's `folder`."""

    def __init__(self, folder: Path, plan: Plan, dataset: "Dataset", view: Progress) -> None:
        from evaluators.quantise import Quantisation
        from evaluators.training.deployed import calibration_images
        from evaluators.training.loop import training_device

        self._folder, self._plan, self._view, self._device = folder, plan, view, training_device()
        self._train, self._validation = self.images(dataset.train), self.images(dataset.validation)
        self.quantisation = Quantisation(calibration_images(self._train)) if plan.precision == "int8" else None
        self._events = in_folder(folder, plan.tensorboard)

    def images(self, split: "Split") -> "Batches":
        from evaluators.training.batches import Batches

        return Batches.of(split, self._plan.preprocessing, self._device)

    def _load_initial_weights(self, network: "Network", folder: Path) -> int:
        """Load the initial weights of a new network; returns how many of its first blocks are already trained."""
        from evaluators.inheritance.donor import load_donor
        from evaluators.training.finetune import Beginnings
        from evaluators.weights import load_weights

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
        """Train the genotype in `folder` from its latest checkpoint and save its weights."""
        from evaluators.training.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
        from evaluators.training.distill import load_teacher
        from evaluators.training.loop import Training, TrainingFailed, seeded_network
        from evaluators.training.surgery import surgery_of

        if (folder / WEIGHTS).is_file():
            return
        plan = self._plan
        surgery = surgery_of(plan.recipe.surgery) if folder == self._folder else None
        genotype = surgery.opened(read_genotype(folder / BEFORE)) if surgery else read_genotype(folder / GENOTYPE)
        network, generator = seeded_network(genotype, plan.task, plan.seed, self._device)
        taught = load_teacher(teacher, plan.task, self._device, (tuple(plan.mean), tuple(plan.std))) if teacher else None
        ready = self._load_initial_weights(network, folder)
        images = self._train, self._validation
        ways: dict[str, Any] = {"metric": plan.metric, "ready": ready, "quantisation": self.quantisation}
        training = Training(network, *images, plan.recipe, generator, teacher=taught, recovers=True, surgery=surgery, **ways)
        load_checkpoint(training, folder)
        self._write_events(folder, training.history)
        self._view.phase(title, plan.recipe.epochs, len(training.history))
        while not training.finished:
            try:
                epoch = training.epoch()
            except TrainingFailed as error:
                raise InputError(f"{error}; try a recipe with a lower learning_rate") from None
            save_checkpoint(training, folder)
            write_json(folder / CURVE, [asdict(epoch) for epoch in training.history])
            self._write_events(folder, [epoch])
            self._show(epoch)
        trained = cast("Network", training.network)
        replace_file(folder / GENOTYPE, trained.genotype.text.encode())
        save_weights(trained, folder / WEIGHTS)
        remove_checkpoints(folder)
        if self._events:
            self._events.close()

    def _write_events(self, folder: Path, epochs: "Sequence[Epoch]") -> None:
        """Write epochs to the event files, if these were asked for."""
        for epoch in epochs:
            if self._events:
                self._events.epoch("network" if folder == self._folder else TEACHER, epoch.number, epoch)

    def _show(self, epoch: "Epoch") -> None:
        self._view.working(self._plan.recipe.epochs - epoch.number)
        self._view.step(
            f"epoch {epoch.number:>4}  loss {epoch.loss:7.4f}  validation {epoch.accuracy:7.2%}  {epoch.seconds:6.1f} s"
        )


def finish(folder: Path, plan: Plan, dataset: "Dataset", test: "Batches", quantisation: "Quantisation | None") -> None:
    """Test once, export, and write the result, which marks the training as finished."""
    from evaluators.processors import processors
    from evaluators.training.deployed import deployed
    from evaluators.training.surgery import surgery_of

    genotype, curve = read_genotype(folder / GENOTYPE), read_curve(folder)
    network = load_network(genotype, plan.task, folder / WEIGHTS)
    floats = asdict(deployed(network, plan.task, test, processors()).scores)
    scores = floats
    if quantisation is not None:
        scores = asdict(deployed(network, plan.task, test, processors(), quantisation=quantisation).scores)
    trained = Trained(
        genotype=genotype,
        weights=folder / WEIGHTS,
        classes=plan.classes,
        preprocessing=plan.preprocessing,
        metric=plan.metric,
        validation=curve[-1]["accuracy"],
        test=scores[plan.metric],
        quantisation=quantisation,
        float_test=floats[plan.metric],
    )
    export_trained(trained, folder / "export")
    surgery = surgery_of(plan.recipe.surgery)
    images = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
    found = {
        "test_scores": scores,
        "float_test_scores": floats,
        "images": images,
        "epochs": curve,
        "teacher_epochs": read_curve(folder / TEACHER),
        "before": _figures(read_genotype(folder / BEFORE), plan) if surgery else None,
        "surgery": surgery.found(network, test) if surgery else None,
    }
    write_json(folder / RESULT, _result(plan, genotype, found))


def _result(plan: Plan, genotype: Genotype, found: dict[str, Any]) -> dict[str, Any]:
    """Contents of result.json: plan, network, scores."""
    curve = found["epochs"]
    return {
        "format": FORMAT,
        "network": plan.network,
        "data": plan.data,
        "input": plan.input,
        "begins": plan.begins,
        **_figures(genotype, plan),
        "recipe": asdict(plan.recipe),
        "seed": plan.seed,
        "distilled_from": plan.distill,
        "metric": plan.metric,
        "precision": plan.precision,
        "validation_accuracy": curve[-1]["accuracy"],
        "test_accuracy": found["test_scores"][plan.metric],
        **found,
        "training_seconds": round(sum(epoch["seconds"] for epoch in curve), 1),
        "machine": machine(),
        "versions": versions(),
    }


def _figures(genotype: Genotype, plan: Plan) -> dict[str, Any]:
    from evaluators.cost import cost

    figures = cost(genotype, plan.task)
    return {"id": genotype.id, "genotype": genotype.text, "params": figures.params, "macs": figures.macs}


def write_json(path: Path, found: Any) -> None:
    replace_file(path, (json.dumps(found, indent=2) + "\n").encode())
