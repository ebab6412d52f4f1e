"""`nas export`: export a run's network, or an anchor with trained weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from nas.console import make_console
from nas.export.formats import load
from nas.progress import ConsoleProgress
from nas.run.folder import Run, open_run
from nas.run.resuming import check_data
from nas.sessions.inputs import load_data
from search_spaces.anchor import anchor, anchor_names, base_name
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from evaluators.data import Dataset
    from evaluators.onnx import OnnxForm
    from evaluators.precision import Precision


def export_run(
    path: Path,
    folder: Path | None,
    network: str | None,
    formats: Sequence[str] = (),
    *,
    precision: "Precision | None" = None,
    form: "OnnxForm | None" = None,
) -> None:
    """Export a run's best network, or the one with this id or anchor name, in the run's precision or another."""
    from nas.export.files import export
    from nas.export.quantised import in_int8, int8_quantisation
    from nas.report.result import result

    load(formats)  # says which package is missing before any work
    console = make_console()
    if not path.exists() and base_name(str(path)) in anchor_names():
        raise InputError(f"{path} is a hand-designed network; export it with trained weights: --weights FILE")
    run = open_run(path)
    picked = chosen(result(run), network)
    quantisation, own = None, run.resolved.precision
    if own == "int8" == (precision or own):
        quantisation = int8_quantisation(run, picked, _dataset(run, console))
    elif precision == "int8":
        dataset = _dataset(run, console)
        quantisation = int8_quantisation(run, picked, dataset)
        picked = in_int8(run, picked, dataset, quantisation)
    elif own == "int8":
        raise InputError(f"{run.path} is in int8, and so are its figures; leave out --precision: the export has both files")
    for file in export(run, picked, folder or run.path / "export", formats, quantisation=quantisation, form=form):
        console.print(str(file), highlight=False)


def _dataset(run: Run, console: Console) -> "Dataset":
    """The run's data set; raises InputError if it has changed."""
    config, known = run.config, run.resolved
    with ConsoleProgress(console) as progress:
        found = load_data(progress, config.data, run.space().inputs, fit=config.fit, interpolation=known.interpolation)
    check_data(run.path, config.data, known.classes, known.fingerprint, found)
    return found


def export_pretrained(
    name: str, weights: Path, folder: Path | None, formats: Sequence[str] = (), *, form: "OnnxForm | None" = None
) -> None:
    """Export an anchor with weights published by its library."""
    from nas.export.files import export_network
    from search_spaces.weights import as_trained, read_tensors

    load(formats)
    known = anchor(name)
    loaded = as_trained(known, read_tensors(weights), str(weights))
    for file in export_network(known, loaded, folder or Path(known.name.replace(":", "-")), formats, form=form):
        make_console().print(str(file), highlight=False)


def chosen(found: dict[str, Any], network: str | None) -> dict[str, Any]:
    if network is None:
        if not found["best"]:
            raise InputError(f"{found['run']} has no network to export yet; finish it with `nas resume`")
        return dict(found["best"])
    everything = found["finalists"] + found["anchors"]
    for entry in everything:
        if network in (entry["id"], entry["anchor"], base_name(entry["anchor"] or "")):
            return dict(entry)
    names = [e["anchor"] or e["id"] for e in everything]
    raise InputError(f'{found["run"]} has no retrained network "{network}"; it has {", ".join(names) or "none"}')
