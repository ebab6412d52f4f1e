"""Deployment files of a network: genotype text, ONNX, safetensors, and a model card for the program that runs it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.run import Config, Run
from nas.search import load_network
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from torch import nn


def export(run: Run, network: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a network of a run's result: genotype.txt, weights.safetensors, model.onnx, model.json; returns the files.

    model.onnx has the deployment input, at which latency was measured. When training used pictures of another size, a
    second file model_SIZE.onnx has the training input, at which the accuracy was measured. An earlier export in `folder`
    is replaced; raises InputError when the folder holds anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    genotype, weights = Genotype.parse(network["genotype"]), run.weights(network["id"])
    deploy, train_size = run.space().task(len(run.config.classes)), run.config.train_size
    _check_folder(folder)
    sizes = {"model.onnx": deploy}
    if train_size != deploy.input[1]:
        sizes[f"model_{train_size}.onnx"] = deploy.at(train_size)

    def write(part: Path) -> None:
        shutil.copyfile(weights, part / "weights.safetensors")
        for name, task in sizes.items():
            export_onnx(load_network(genotype, task, weights), task, part / name)

    return _replace(folder, genotype, _card(network, sizes, run.config), write)


def export_network(known: Anchor, network: "nn.Module", folder: Path) -> list[Path]:
    """Writes an anchor with its trained weights: genotype.txt, weights.safetensors, model.onnx, model.json.

    The number of classes is that of the network's output. An earlier export in `folder` is replaced; raises InputError
    when the folder holds anything else, or cannot be written.
    """
    from safetensors.torch import save_file

    from evaluators.onnx import export_onnx

    _check_folder(folder)

    def write(part: Path) -> None:
        save_file({name: t.contiguous() for name, t in network.state_dict().items()}, part / "weights.safetensors")
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
        (part / "genotype.txt").write_text(genotype.text, encoding="utf-8")
        write(part)
        (part / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None
    return sorted(folder.iterdir())


def _card(network: dict[str, Any], sizes: dict[str, Task], config: Config) -> dict[str, Any]:
    return {
        "classes": config.classes,
        "files": {
            name: {"input": ["image", [1, *task.input]], "output": ["logits", [1, task.classes]]}
            for name, task in sizes.items()
        },
        "preprocessing": {
            "channels": "RGB; grey pictures repeated three times",
            "resize": "short side to the input's size, then centre crop",
            "scale": "pixel / 255, minus mean, divided by std",
            "mean": config.mean,
            "std": config.std,
        },
        "accuracy": {
            "training_input": [3, config.train_size, config.train_size],
            "validation": network["validation_accuracy"],
            "test": network["test_accuracy"],
        },
        "latency_ms": {
            "input": list(sizes["model.onnx"].input),
            **{k: network[k] for k in ("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n")},
        },
    }
