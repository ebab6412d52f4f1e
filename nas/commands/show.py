"""`nas show`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command, looking, refuse_unused


@click.command("show", cls=Command)
@click.argument("what")
@looking
@click.option(
    "--measure", is_flag=True, help="Measure it on this machine, untrained, and profile it with the runtime's profiler."
)
@click.option("--plot", type=PATH, help="Plot latency by block as a bar chart: FILE.png or FILE.svg.")
def command(
    *,
    what: str,
    device: str,
    space_name: str,
    classes: int | None,
    size: str | None,
    measure: bool,
    plot: Path | None,
) -> None:
    """Show the network of a genotype file, anchor or run: blocks, shapes, params, MACs, latency by block."""
    from nas.report import network
    from nas.run.find import find_run

    refuse_unused(space_name=(find_run(what)[0] is not None, f"{what} has its own space"))
    network.show(what, device, space_name, classes, measure=measure, plot=plot, size=size)
