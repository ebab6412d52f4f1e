"""`nas show`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.commands.options import AT_LEAST_1, PATH, PRECISION, SIZE, Command, refuse_unused

if TYPE_CHECKING:
    from evaluators.latency.runtime import Precision


@click.command("show", cls=Command)
@click.argument("what")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@PRECISION
@click.option(
    "--space", "space_name", default="mobile", show_default=True, help="Space whose calibration is used to predict latency."
)
@click.option("--classes", type=AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
@SIZE
@click.option(
    "--measure", is_flag=True, help="Measure it on this machine, untrained, and profile it with the runtime's profiler."
)
@click.option("--plot", type=PATH, help="Plot latency by block as a bar chart: FILE.png or FILE.svg.")
def command(
    *,
    what: str,
    device: str,
    precision: "Precision | None",
    space_name: str,
    classes: int | None,
    size: str | None,
    measure: bool,
    plot: Path | None,
) -> None:
    """Show the network of a genotype file, anchor or run: blocks, shapes, params, MACs, latency by block."""
    from nas.budget.device import device_at
    from nas.report import network
    from nas.run.find import find_run

    refuse_unused(space_name=(find_run(what)[0] is not None, f"{what} has its own space"))
    network.show(what, device_at(device, precision), space_name, classes, measure=measure, plot=plot, size=size)
