"""Deployment files of a network: genotype text, ONNX, safetensors, and a model card for the program that runs it."""

import json
import shutil
from pathlib import Path
from typing import Any

from nas.run import Config, Run
from nas.search import load_network
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task


def export(run: Run, network: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a network of a run's result: genotype.txt, weights.safetensors, model.onnx, model.json; returns the files.

    model.onnx has the deployment input, at which latency was measured. When training used pictures of another size, a
    second file model_SIZE.onnx has the training input, at which the accuracy was measured. An earlier export in `folder`
    is replaced; raises InputError when the folder holds anything else, or cannot be written.
    """
    from evaluators.onnx import export_onnx

    genotype, weights = Genotype.parse(network["genotype"]), run.weights(network["id"])
    deploy, train_size = run.space().task(len(run.config.classes)), run.config.train_size
    if folder.exists() and not (folder / "model.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else than an export; name another folder with --to")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "genotype.txt").write_text(genotype.text, encoding="utf-8")
        shutil.copyfile(weights, part / "weights.safetensors")
        sizes = {"model.onnx": deploy}
        if train_size != deploy.input[1]:
            sizes[f"model_{train_size}.onnx"] = deploy.at(train_size)
        for name, task in sizes.items():
            export_onnx(load_network(genotype, task, weights), task, part / name)
        (part / "model.json").write_text(json.dumps(_card(network, sizes, run.config), indent=2) + "\n")
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
        "latency_ms": {"input": list(sizes["model.onnx"].input), **{k: network[k] for k in ("p50_ms", "p90_ms", "n")}},
    }
