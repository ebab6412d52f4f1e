"""Deployment files of a network: genotype text, ONNX, safetensors, and a model card for the program that runs it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.training.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.run import Run
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Trained:
    """A network with its weights (safetensors), what it was trained on, and what is known of it.

    `deploy` is the task at the deployment input, `train_size` the side of the training pictures, `mean` and `std` are those
    of the training pixels by channel, scaled to 0..1. Accuracies are 0..1, None where unknown.
    """

    genotype: Genotype
    weights: Path
    deploy: Task
    train_size: int
    classes: list[str]
    mean: list[float]
    std: list[float]
    validation: float | None
    test: float | None
    latency_ms: dict[str, Any] | None = None


def export(run: Run, network: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a network of a run's result, with the weights of its first seed, which were measured; as `export_trained`."""
    config = run.config
    trained = Trained(
        genotype=Genotype.parse(network["genotype"]),
        weights=run.weights(network["id"]),
        deploy=run.space().task(len(config.classes)),
        train_size=config.train_size,
        classes=config.classes,
        mean=config.mean,
        std=config.std,
        validation=next(iter(network["validation_by_seed"]), None),
        test=next(iter(network["test_by_seed"]), None),
        latency_ms={k: network[k] for k in ("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n")},
    )
    return export_trained(trained, folder)


def export_trained(trained: Trained, folder: Path) -> list[Path]:
    """Writes genotype.txt, weights.safetensors, model.onnx, model.json; returns the files.

    model.onnx has the deployment input, at which latency is measured. When training used pictures of another size, a
    second file model_SIZE.onnx has the training input, at which the accuracy was measured. An earlier export in `folder`
    is replaced; raises InputError when the folder holds anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    deploy, train_size = trained.deploy, trained.train_size
    _check_folder(folder)
    sizes = {"model.onnx": deploy}
    if train_size != deploy.input[1]:
        sizes[f"model_{train_size}.onnx"] = deploy.at(train_size)

    def write(part: Path) -> None:
        shutil.copyfile(trained.weights, part / WEIGHTS)
        for name, task in sizes.items():
            export_onnx(load_network(trained.genotype, task, trained.weights), task, part / name)

    return _replace(folder, trained.genotype, _card(trained, sizes), write)


def export_network(known: Anchor, network: "nn.Module", folder: Path) -> list[Path]:
    """Writes an anchor with its trained weights: genotype.txt, weights.safetensors, model.onnx, model.json.

    The number of classes is that of the network's output. An earlier export in `folder` is replaced; raises InputError
    when the folder holds anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    _check_folder(folder)

    def write(part: Path) -> None:
        save_weights(network, part / WEIGHTS)
        export_onnx(network, known.task, part / "model.onnx")

    card = {"anchor": known.name, "paper": known.paper, "files": {"model.onnx": {"input": ["image", [1, *known.task.input]]}}}
    return _replace(folder, known.genotype, card, write)


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


def _card(trained: Trained, sizes: dict[str, Task]) -> dict[str, Any]:
    known = {"latency_ms": {"input": list(trained.deploy.input), **trained.latency_ms}} if trained.latency_ms else {}
    return {
        "classes": trained.classes,
        "files": {
            name: {"input": ["image", [1, *task.input]], "output": ["logits", [1, task.classes]]}
            for name, task in sizes.items()
        },
        "preprocessing": {
            "channels": "RGB; grey pictures repeated three times",
            "resize": "short side to the input's size, then centre crop",
            "scale": "pixel / 255, minus mean, divided by std",
            "mean": trained.mean,
            "std": trained.std,
        },
        "accuracy": {
            "training_input": [3, trained.train_size, trained.train_size],
            "validation": trained.validation,
            "test": trained.test,
        },
        **known,
    }
