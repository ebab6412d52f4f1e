"""Deployment files of a network: genotype text, safetensors, the formats asked for, and a card for the program that runs it."""

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from evaluators.card import CARD, files_entry, listed
from evaluators.data.preprocess import Preprocessing
from evaluators.training.recipe import Metric
from evaluators.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.export.formats import OURS, Format, load
from nas.run.folder import Run
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.weights import Loaded

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


def export(run: Run, network: dict[str, Any], folder: Path, formats: Sequence[str] = ()) -> list[Path]:
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
    return export_trained(trained, folder, formats)


def export_trained(trained: Trained, folder: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Writes genotype.txt, weights.safetensors, model.json and a file of each format, by default model.onnx; returns them.

    All are of one network at one input. The files of an earlier export in `folder` are replaced; raises InputError for an
    unknown format, or when the folder holds anything else, which it names, or cannot be written.
    """
    chosen = load(formats)
    _check_folder(folder)

    def write(part: Path) -> None:
        shutil.copyfile(trained.weights, part / WEIGHTS)
        _write(load_network(trained.genotype, trained.task, trained.weights), trained.task, chosen, part)

    return _replace(folder, trained.genotype, _card(trained, chosen), write)


def export_network(known: Anchor, loaded: "Loaded", folder: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Writes an anchor with its trained weights, as `export_trained`.

    model.json says how images are brought to the network where the weights' source does.
    """
    chosen = load(formats)
    _check_folder(folder)

    def write(part: Path) -> None:
        save_weights(loaded.network, part / WEIGHTS)
        _write(loaded.network, loaded.task, chosen, part)

    card = {"anchor": known.name, "paper": known.paper, "files": files_entry(loaded.task, chosen)}
    trained = known.trained.get(loaded.source)
    if trained and trained.channels == "RGB":
        seen = Preprocessing(loaded.task.input, "crop", trained.interpolation, trained.mean, trained.std)
        card |= {"preprocessing": seen.as_json()}
    return _replace(folder, known.genotype.at(loaded.task.input), card, write)


def _write(network: "Network", task: Task, chosen: Mapping[str, Format], part: Path) -> None:
    for file, way in chosen.items():
        way.write(network, task, part / file)


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
    others, names = sorted(path for path in folder.iterdir() if path not in parts), _own(folder, parts)
    foreign = [path.name for path in others if path.name not in names or path.is_dir()]
    own = bool(parts) or bool(listed(folder / CARD))
    return foreign + [path.name for path in others if path.name not in foreign and not own]


def _own(folder: Path, parts: Sequence[Path]) -> set[str]:
    """Names of the files of exports: those that all have, and those that a card names, in the folder or in parts of exports."""
    cards = [folder / CARD, *(part / place / CARD for part in parts for place in (_NEW, _OLD))]
    return set(OURS).union(*map(listed, cards))


def _left_behind(folder: Path) -> list[Path]:
    """What exports that were killed have left in the folder: theirs alone, by all that is in it."""
    return [path for path in folder.glob(f"{_PART}*") if path.is_dir() and not path.is_symlink() and _holds_own_alone(path)]


def _holds_own_alone(part: Path) -> bool:
    own = {part / place / name for place in (_NEW, _OLD) for name in _own(part.parent, [part])}
    return all(path in own or (path.name in (_NEW, _OLD) and path.is_dir()) for path in part.rglob("*"))


def _replace(folder: Path, genotype: Genotype, card: dict[str, Any], write: Callable[[Path], None]) -> list[Path]:
    """The files of a folder: made in a folder of their own in it, and moved into place once all are there."""
    is_new, written = not folder.exists(), {*OURS, *card["files"]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = _left_behind(folder)
        with TemporaryDirectory(prefix=_PART, dir=folder) as part:
            new, old = Path(part, _NEW), Path(part, _OLD)
            new.mkdir()
            old.mkdir()
            (new / CARD).write_text(json.dumps(card, indent=2) + "\n")  # first: it says which files are an export's
            (new / GENOTYPE).write_text(genotype.text, encoding="utf-8")
            write(new)
            earlier = _own(folder, left) & {path.name for path in folder.iterdir()}
            _exchange([(folder, old, _card_last(earlier)[::-1]), (new, folder, _card_last(written))])
        for path in left:
            shutil.rmtree(path)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return [folder / name for name in sorted(written)]


def _card_last(names: Collection[str]) -> list[str]:
    """With the card, which comes last and goes first, the files of an export are whole."""
    return sorted(names, key=lambda name: (name == CARD, name))


def _exchange(moves: Sequence[tuple[Path, Path, Sequence[str]]]) -> None:
    """Moves files by name from one folder to another, move by move; all is as it was where that fails."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in ((a / name, b / name) for a, b, names in moves for name in names):
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _card(trained: Trained, files: Iterable[str]) -> dict[str, Any]:
    return {
        "classes": trained.classes,
        "files": files_entry(trained.task, files),
        "preprocessing": trained.preprocessing.as_json(),
        "accuracy": {"metric": trained.metric, "validation": trained.validation, "test": trained.test},
        **({"latency_ms": trained.latency_ms} if trained.latency_ms else {}),
    }
