"""`nas export`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command, refuse_unused


@click.command("export", cls=Command)
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=PATH, help="Where to write.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="An id or anchor of the run.  [default: the best]")
@click.option("--weights", type=PATH, help="For an anchor: a file of trained weights of its own library.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="A format for other programs, of `nas list formats`; may be given several times.  [default: onnx]",
)
def command(what: str, folder: Path | None, network: str | None, weights: Path | None, formats: tuple[str, ...]) -> None:
    """Write a run's network, or an anchor with trained weights, for deployment: genotype text, safetensors, ONNX and others."""
    from nas.sessions import export

    refuse_unused(network=(weights is not None, f"--weights is of the anchor {what}"))
    if weights:
        export.export_pretrained(what, weights, folder, formats)
    else:
        export.export_run(Path(what), folder, network, formats)
