"""`nas export`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command, refuse_unused


@click.command("export", cls=Command)
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=PATH, help="Where to write.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="An id or anchor of the run.  [default: the best]")
@click.option("--weights", type=PATH, help="For an anchor: a file of trained weights of its own library.")
def command(what: str, folder: Path | None, network: str | None, weights: Path | None) -> None:
    """Write a run's network, or an anchor with trained weights, for deployment: genotype text, ONNX, safetensors."""
    from nas.sessions import export

    refuse_unused(network=(weights is not None, f"--weights is of the anchor {what}"))
    if weights:
        export.export_pretrained(what, weights, folder)
    else:
        export.export_run(Path(what), folder, network)
