"""`nas export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.commands.options import PATH, Command, refuse_unused
from search_spaces.errors import quoted

if TYPE_CHECKING:
    from evaluators.onnx import OnnxForm
    from evaluators.precision import Precision


class _Batch(click.IntRange):
    """A number of images from 1, or dynamic, which is 0."""

    name = "N|dynamic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "dynamic":
            return 0
        if not str(value).isdecimal():
            self.fail(f"{quoted(value)} is neither a number of images nor dynamic", param, ctx)
        return super().convert(value, param, ctx)


BATCH = _Batch(min=1, max=4096)


@click.command("export", cls=Command)
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=PATH, help="Output folder.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="Id or anchor of a network in the run.  [default: the best]")
@click.option("--weights", type=PATH, help="Weights file for an anchor, as published by its library.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Export format, see `nas list formats`; repeatable.  [default: onnx, torch_source]",
)
@click.option("--opset", type=click.IntRange(9, 20), help="Opset of model.onnx.  [default: 17]")
@click.option("--batch", type=BATCH, help="Images per run of model.onnx: a number, or dynamic.  [default: 1]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8"]),
    help="int8: also write model.int8.onnx (LiteRT: .tflite), calibrated on the run's training images.  [default: the run's]",
)
def command(
    *,
    what: str,
    folder: Path | None,
    network: str | None,
    weights: Path | None,
    formats: tuple[str, ...],
    precision: "Precision | None",
    opset: int | None,
    batch: int | None,
) -> None:
    """Export a run's network, or an anchor with trained weights, for deployment: genotype text, safetensors, ONNX etc."""
    from nas.sessions import export

    no_run = weights is not None, f"--weights exports the anchor {what}"
    refuse_unused(network=no_run, precision=no_run)
    form = _form(opset, batch)
    if weights:
        export.export_pretrained(what, weights, folder, formats, form=form)
    else:
        export.export_run(Path(what), folder, network, formats, precision=precision, form=form)


def _form(opset: int | None, batch: int | None) -> "OnnxForm | None":
    """The form of model.onnx; None if it is the usual one. A batch of 0 is dynamic."""
    if opset is None and batch is None:
        return None
    from evaluators.onnx import OPSET, OnnxForm

    return OnnxForm(opset or OPSET, 1 if batch is None else batch or None)
