"""Deployment files of a network: genotype text, ONNX, safetensors, and a model card for the program that runs it."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from evaluators.card import CARD
from evaluators.data.preprocess import Preprocessing
from evaluators.training.recipe import Metric
from evaluators.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.run.folder import Run
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from search_spaces.weights import Loaded

MODEL = "model.onnx"
FILES = (GENOTYPE, WEIGHTS, MODEL, CARD)  # all that an export writes; with the card, the last, they are whole
_PART, _NEW, _OLD = ".export-", "new", "old"  # a folder of an export at work, in which it keeps files until all are replaced


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
    weights = run.weights(network["id"])
    if not weights.is_file():
        raise InputError(f"weights/{weights.name} is missing in {run.path}; `nas resume {run.path}` trains that network again")
    trained = Trained(
        genotype=genotype,
        weights=weights,
        classes=run.resolved.classes,
        preprocessing=run.preprocessing(genotype.input),
        metric=run.config.metric,
        validation=next(iter(network["validation_by_seed"]), None),
        test=next(iter(network["test_by_seed"]), None),
        latency_ms={k: network[k] for k in ("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n")},
    )
    return export_trained(trained, folder)


def export_trained(trained: Trained, folder: Path) -> list[Path]:
    """Writes genotype.txt, weights.safetensors, model.onnx, model.json; returns the files.

    All are of one network at one input. The files of an earlier export in `folder` are replaced; raises InputError when the
    folder holds anything else, which it names, or cannot be written.
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

    The last says how images are brought to the network where the weights' source does. The files of an earlier export in
    `folder` are replaced; raises InputError when the folder holds anything else, which it names, or cannot be written.
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
    """Raises InputError when the folder holds anything that no export wrote, or is no folder."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is no folder; name another with --to")
        foreign = _foreign(folder) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None
    if foreign:
        names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InputError(f"{folder} holds {names}, which no export wrote; move that, or name another folder with --to")


def _foreign(folder: Path) -> list[str]:
    """Names of what is no export's: other files, and those of an export's names where no card of ours is among them."""
    parts = _left_behind(folder)
    others = sorted(path for path in folder.iterdir() if path not in parts)
    foreign = [path.name for path in others if path.name not in FILES or path.is_dir()]
    own = bool(parts) or _is_card(folder / CARD)
    return foreign + [path.name for path in others if path.name not in foreign and not own]


def _is_card(path: Path) -> bool:
    try:
        card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (ValueError, RecursionError):
        return False
    return isinstance(card, dict) and isinstance(card.get("files"), dict) and MODEL in card["files"]


def _left_behind(folder: Path) -> list[Path]:
    """What exports that were killed have left in the folder: theirs alone, by all that is in it."""
    return [path for path in folder.glob(f"{_PART}*") if path.is_dir() and not path.is_symlink() and _holds_own_alone(path)]


def _holds_own_alone(part: Path) -> bool:
    own = {part / place / name for place in (_NEW, _OLD) for name in FILES}
    return all(path in own or (path.name in (_NEW, _OLD) and path.is_dir()) for path in part.rglob("*"))


def _replace(folder: Path, genotype: Genotype, card: dict[str, Any], write: Callable[[Path], None]) -> list[Path]:
    """The files of a folder: made in a folder of their own in it, and moved into place once all are there."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = _left_behind(folder)
        with TemporaryDirectory(prefix=_PART, dir=folder) as part:
            new, old = Path(part, _NEW), Path(part, _OLD)
            new.mkdir()
            old.mkdir()
            (new / GENOTYPE).write_text(genotype.text, encoding="utf-8")
            write(new)
            (new / CARD).write_text(json.dumps(card, indent=2) + "\n")
            _exchange(folder, new, old)
        for path in left:
            shutil.rmtree(path)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return [folder / name for name in sorted(FILES)]


def _exchange(folder: Path, new: Path, old: Path) -> None:
    """Moves the folder's files to `old` and those of `new` into their places; all is as it was where that fails."""
    there = [name for name in reversed(FILES) if os.path.lexists(folder / name)]
    moves = [(folder / name, old / name) for name in there] + [(new / name, folder / name) for name in FILES]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


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
