"""Exports a network: genotype text, safetensors, the chosen formats, and model.json for the program that runs it."""

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from evaluators.card import CARD, file_entry, listed
from evaluators.data.preprocess import Preprocessing
from evaluators.onnx import OnnxForm, describe
from evaluators.quantise import Quantisation, export_at, weight_bits
from evaluators.quantisers import load_quantiser
from evaluators.training.recipe import Metric
from evaluators.weights import GENOTYPE, WEIGHTS, load_network, save_weights
from nas.export.formats import OURS, Format, entry, load, use, write
from nas.export.readme import readme
from nas.run.folder import Run
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.weights import Loaded

ONNX, README, SCRIPTS = "model.onnx", "README.md", "nas.export.scripts"
_PART, _NEW, _OLD = ".export-", "new", "old"  # temporary folder of an export, for new and old files until all are replaced


@dataclass(frozen=True)
class Trained:
    """A trained network: genotype, weights file (safetensors), classes, preprocessing, and scores.

    The genotype specifies the input at which it was trained, tested and measured. Accuracies are by `metric`, 0..1, None if
    unknown. With `quantisation`, it is deployed in int8; `float_test` is then the test accuracy in float32, and all other
    figures are of the quantised file.
    """

    genotype: Genotype
    weights: Path
    classes: list[str]
    preprocessing: Preprocessing
    metric: Metric
    validation: float | None
    test: float | None
    latency_ms: dict[str, Any] | None = None
    quantisation: Quantisation | None = None
    float_test: float | None = None

    @property
    def task(self) -> Task:
        return self.genotype.task(len(self.classes))


def export(
    run: Run,
    network: dict[str, Any],
    folder: Path,
    formats: Sequence[str] = (),
    *,
    quantisation: Quantisation | None = None,
    form: OnnxForm | None = None,
) -> list[Path]:
    """Export a network of a run's result with the weights of its first seed (the measured ones); see `export_trained`.

    A run in int8 needs its quantisation (nas.export.quantised).
    """
    assert quantisation is not None or run.resolved.precision == "float32", "figures in int8 belong to a file in int8"
    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    weights = run.weights(network["id"])
    if not weights.is_file():
        raise InputError(
            f"weights/{weights.name} is missing in {run.path}; run `nas resume {run.path}` to train that network again"
        )
    trained = Trained(
        genotype=genotype,
        weights=weights,
        classes=run.resolved.classes,
        preprocessing=run.preprocessing(genotype.input),
        metric=run.config.metric,
        validation=next(iter(network["validation_by_seed"]), None),
        test=next(iter(network["test_by_seed"]), None),
        latency_ms={k: network[k] for k in ("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n")},
        quantisation=quantisation,
        float_test=next(iter(network["float_test_by_seed"]), None),
    )
    return export_trained(trained, folder, formats, form=form)


def export_trained(trained: Trained, folder: Path, formats: Sequence[str] = (), *, form: OnnxForm | None = None) -> list[Path]:
    """Write genotype.txt, weights.safetensors, model.json, and a file per format (default: model.onnx and network.py).

    A network that is deployed in int8 also gets model.int8.onnx, or .tflite; with this or model.onnx there is predict.py.
    README.md describes all of it. `form` is of model.onnx. Returns the paths.

    Files of an earlier export in `folder` are replaced. Raises InputError for an unknown format, and if the folder contains
    other files or cannot be written.
    """
    chosen = _chosen(formats, form)
    _check_folder(folder)

    card = _card(trained, chosen)
    card["files"] |= _in_form(trained.task, form)

    def fill(part: Path) -> None:
        shutil.copyfile(trained.weights, part / WEIGHTS)
        network = load_network(trained.genotype, trained.task, trained.weights)
        _write(network, trained.task, chosen, part, form)
        if trained.quantisation is not None:
            export_at(network, trained.task, part / _int8_file(trained.quantisation), trained.quantisation)
        for name in set(card["companions"]) - {README}:
            (part / name).write_bytes(files(SCRIPTS).joinpath(name).read_bytes())

    return _replace(folder, trained.genotype, card, fill, list(filter(None, map(use, chosen.values()))))


def export_network(
    known: Anchor, loaded: "Loaded", folder: Path, formats: Sequence[str] = (), *, form: OnnxForm | None = None
) -> list[Path]:
    """Export an anchor with its trained weights, like `export_trained`.

    model.json includes the preprocessing if the source of the weights specifies it.
    """
    chosen = _chosen(formats, form)
    _check_folder(folder)

    def fill(part: Path) -> None:
        save_weights(loaded.network, part / WEIGHTS)
        _write(loaded.network, loaded.task, chosen, part, form)

    files = {file: entry(way, loaded.task) for file, way in chosen.items()} | _in_form(loaded.task, form)
    card = {"anchor": known.name, "paper": known.paper, "files": files}
    trained = known.trained.get(loaded.source)
    if trained and trained.channels == "RGB":
        seen = Preprocessing(loaded.task.input, "crop", trained.interpolation, trained.mean, trained.std)
        card |= {"preprocessing": seen.as_json()}
    return _replace(folder, known.genotype.at(loaded.task.input), card, fill)


def _chosen(formats: Sequence[str], form: OnnxForm | None) -> dict[str, Format]:
    """The formats by file; raises InputError if none is ONNX, which `form` is of."""
    chosen = load(formats)
    if form and ONNX not in chosen:
        raise InputError(f"--opset and --batch are of {ONNX}, which is not exported; add --format onnx")
    return chosen


def _in_form(task: Task, form: OnnxForm | None) -> dict[str, Any]:
    """The card's entry for model.onnx in another form, by name."""
    return {ONNX: file_entry(task, form.batch or "batch") | {"opset": form.opset}} if form else {}


def _write(network: "Network", task: Task, chosen: Mapping[str, Format], part: Path, form: OnnxForm | None) -> None:
    for file, way in chosen.items():
        how = {"form": form} if form and file == ONNX else {}
        write(way, network, task, part / file, **how)


def _check_folder(folder: Path) -> None:
    """Raise InputError if the path is not a folder, or contains files that no export wrote."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is not a folder; choose another with --to")
        foreign = _foreign(folder) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None
    if foreign:
        names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InputError(f"{folder} contains {names}, not written by an export; move it, or choose another folder with --to")


def _foreign(folder: Path) -> list[str]:
    """Names of files not written by an export, including files with an export's names if there is no valid model.json."""
    parts = _left_behind(folder)
    others, names = sorted(path for path in folder.iterdir() if path not in parts), _own(folder, parts)
    foreign = [path.name for path in others if path.name not in names or path.is_dir()]
    own = bool(parts) or bool(listed(folder / CARD))
    return foreign + [path.name for path in others if path.name not in foreign and not own]


def _own(folder: Path, parts: Sequence[Path]) -> set[str]:
    """Names of exported files: those of every export, and those listed by a model.json, also in temporary folders."""
    cards = [folder / CARD, *(part / place / CARD for part in parts for place in (_NEW, _OLD))]
    return set(OURS).union(*map(listed, cards))


def _left_behind(folder: Path) -> list[Path]:
    """Temporary folders left by killed exports that contain nothing else."""
    return [path for path in folder.glob(f"{_PART}*") if path.is_dir() and not path.is_symlink() and _holds_own_alone(path)]


def _holds_own_alone(part: Path) -> bool:
    own = {part / place / name for place in (_NEW, _OLD) for name in _own(part.parent, [part])}
    return all(path in own or (path.name in (_NEW, _OLD) and path.is_dir()) for path in part.rglob("*"))


def _replace(
    folder: Path, genotype: Genotype, card: dict[str, Any], fill: Callable[[Path], None], uses: Sequence[str] = ()
) -> list[Path]:
    """Write the files to a temporary folder in `folder`, and move them into place once all are written.

    `uses` are for README.md: Python that runs a file.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = _left_behind(folder)
        with TemporaryDirectory(prefix=_PART, dir=folder) as part:
            new, old = Path(part, _NEW), Path(part, _OLD)
            new.mkdir()
            old.mkdir()
            (new / CARD).write_text(json.dumps(card, indent=2) + "\n")  # first, because it lists the export's files
            (new / GENOTYPE).write_text(genotype.text, encoding="utf-8")
            fill(new)
            for file in sorted(new.glob("*.onnx")):
                describe(file, _facts(card, genotype))
            card = _with_bytes(card, new)
            (new / CARD).write_text(json.dumps(card, indent=2) + "\n")
            if README in card.get("companions", []):
                (new / README).write_text(readme(card, genotype, uses), encoding="utf-8")
            written = {*OURS, *listed(new / CARD)}
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


def _facts(card: dict[str, Any], genotype: Genotype) -> dict[str, str]:
    """The metadata of ONNX files: what a program needs that has the file alone."""
    known: dict[str, str] = {name: json.dumps(card[name]) for name in ("classes", "preprocessing") if name in card}
    return {"genotype": genotype.text, "id": genotype.id, **known}


def _with_bytes(card: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The card with the size of each listed file, and of what belongs to it."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    files = {
        name: {**of, "bytes": sum(sizes[part] for part in (name, *of.get("more", [])))} for name, of in card["files"].items()
    }
    return {**card, "files": files}


def _card_last(names: Collection[str]) -> list[str]:
    """Sort so that model.json is written last (and removed first): if it exists, the export is complete."""
    return sorted(names, key=lambda name: (name == CARD, name))


def _exchange(moves: Sequence[tuple[Path, Path, Sequence[str]]]) -> None:
    """Move files between folders; undoes all moves if one fails."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in ((a / name, b / name) for a, b, names in moves for name in names):
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _card(trained: Trained, chosen: Mapping[str, Format]) -> dict[str, Any]:
    files = {}
    if how := trained.quantisation:
        files[_int8_file(how)] = file_entry(trained.task, 1, load_quantiser(how.quantiser).SIGNATURE)
    files |= {file: entry(way, trained.task) for file, way in chosen.items()}
    return {
        "classes": trained.classes,
        "files": files,
        "companions": [README, *(["predict.py"] if how or ONNX in files else [])],
        "preprocessing": trained.preprocessing.as_json(),
        "accuracy": {"metric": trained.metric, "validation": trained.validation, "test": trained.test},
        **({"latency_ms": trained.latency_ms} if trained.latency_ms else {}),
        **({} if trained.quantisation is None else _int8(trained, trained.quantisation)),
    }


def _int8(trained: Trained, quantisation: Quantisation) -> dict[str, Any]:
    """Which file the figures belong to, its quantiser, the bits of its weights, and the test accuracy in float32."""
    made = {"quantiser": quantisation.quantiser, "weight_bits": weight_bits(quantisation.quantiser)}
    return {"figures_of": _int8_file(quantisation), **made, "float32": {"test": trained.float_test}}


def _int8_file(quantisation: Quantisation) -> str:
    return f"model.int8{load_quantiser(quantisation.quantiser).SUFFIX}"
