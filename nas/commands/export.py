"""`nas export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.commands.options import PATH, Command, refuse_unused

if TYPE_CHECKING:
    from evaluators.precision import Precision


@click.command("export", cls=Command)
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=PATH, help="Output folder.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="Id or anchor of a network in the run.  [default: the best]")
@click.option("--weights", type=PATH, help="Weights file for an anchor, as published by its library.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Export format, see `nas list formats`; repeatable.  [default: onnx]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8"]),
    help="int8: also write model.int8.onnx, calibrated on the run's training images.  [default: the run's]",
)
def command(
    *,
    what: str,
    folder: Path | None,
    network: str | None,
    weights: Path | None,
    formats: tuple[str, ...],
    precision: "Precision | None",
) -> None:
    """Export a run's network, or an anchor with trained weights, for deployment: genotype text, safetensors, ONNX etc."""
    from nas.sessions import export

    no_run = weights is not None, f"--weights exports the anchor {what}"
    refuse_unused(network=no_run, precision=no_run)
    if weights:
        export.export_pretrained(what, weights, folder, formats)
    else:
        export.export_run(Path(what), folder, network, formats, precision)
