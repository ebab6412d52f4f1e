"""Deployment files of a network: genotype text, ONNX, safetensors, and a model card for the program that runs it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.data.preprocess import Preprocessing
from evaluators.training.recipe import Metric
from evaluators.training.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.run import Run
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from search_spaces.weights import Loaded

MODEL = "model.onnx"


@dataclass(frozen=True)
class Trained:
    """A network with its weights (safetensors), what it was trained on, and what is known of it.

    Its genotype names the input at which it was trained, tested and timed, `preprocessing` says how images are brought to
    it. Accuracies are by `metric`, 0..1, None where unknown.
    """

    genotype: Genotype
    weights: Path
    classes: list[str]
    preprocessing: Preprocessing
    metric: Metric
    validation: float | None
    test: float | None
    latency_ms: dict[str, Any] | None = None

    @property
    def task(self) -> Task:
        return self.genotype.task(len(self.classes))


def export(run: Run, network: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a network of a run's result, with the weights of its first seed, which were measured; as `export_trained`."""
    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    trained = Trained(
        genotype=genotype,
        weights=run.weights(network["id"]),
        classes=run.config.classes,
        preprocessing=run.preprocessing(genotype.input),
        metric=run.config.metric,
        validation=next(iter(network["validation_by_seed"]), None),
        test=next(iter(network["test_by_seed"]), None),
        latency_ms={k: network[k] for k in ("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n")},
    )
    return export_trained(trained, folder)


def export_trained(trained: Trained, folder: Path) -> list[Path]:
    """Writes genotype.txt, weights.safetensors, model.onnx, model.json; returns the files.

    All are of one network at one input. An earlier export in `folder` is replaced; raises InputError when the folder holds
    anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    _check_folder(folder)

    def write(part: Path) -> None:
        shutil.copyfile(trained.weights, part / WEIGHTS)
        network = load_network(trained.genotype, trained.task, trained.weights)
        export_onnx(network, trained.task, part / MODEL)

    return _replace(folder, trained.genotype, _card(trained), write)


def export_network(known: Anchor, loaded: "Loaded", folder: Path) -> list[Path]:
    """Writes an anchor with its trained weights: genotype.txt, weights.safetensors, model.onnx, model.json.

    The last says how images are brought to the network where the weights' source does. An earlier export in `folder` is
    replaced; raises InputError when the folder holds anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    _check_folder(folder)

    def write(part: Path) -> None:
        save_weights(loaded.network, part / WEIGHTS)
        export_onnx(loaded.network, loaded.task, part / MODEL)

    card = {"anchor": known.name, "paper": known.paper, "files": _files(loaded.task)}
    trained = known.trained.get(loaded.source)
    if trained and trained.channels == "RGB":
        seen = Preprocessing(loaded.task.input, "crop", trained.interpolation, trained.mean, trained.std)
        card |= {"preprocessing": seen.as_json()}
    return _replace(folder, known.genotype.at(loaded.task.input), card, write)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not (folder / "model.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else than an export; name another folder with --to")


def _replace(folder: Path, genotype: Genotype, card: dict[str, Any], write: Callable[[Path], None]) -> list[Path]:
    """The files of a folder made anew beside it and moved into place whole."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / GENOTYPE).write_text(genotype.text, encoding="utf-8")
        write(part)
        (part / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None
    return sorted(folder.iterdir())


def _card(trained: Trained) -> dict[str, Any]:
    task = trained.task
    return {
        "classes": trained.classes,
        "files": _files(task),
        "preprocessing": trained.preprocessing.as_json(),
        "accuracy": {"metric": trained.metric, "validation": trained.validation, "test": trained.test},
        **({"latency_ms": trained.latency_ms} if trained.latency_ms else {}),
    }


def _files(task: Task) -> dict[str, Any]:
    return {MODEL: {"input": ["image", [1, *task.input]], "output": ["logits", [1, task.classes]]}}
