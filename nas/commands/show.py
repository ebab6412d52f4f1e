"""`nas show`."""

from pathlib import Path

import click

from nas.commands.options import AT_LEAST_1, PATH, SIZE, Command, refuse_unused


@click.command("show", cls=Command)
@click.argument("what")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space whose calibration predicts it.")
@click.option("--classes", type=AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
@SIZE
@click.option("--measure", is_flag=True, help="Time it on this machine, untrained, also by the runtime's own profile.")
@click.option("--plot", type=PATH, help="Write the milliseconds as a bar chart: FILE.png or FILE.svg.")
def command(
    *, what: str, device: str, space_name: str, classes: int | None, size: str | None, measure: bool, plot: Path | None
) -> None:
    """A genotype file's, anchor's or run's network: blocks, shapes, params, MACs, where its milliseconds go."""
    from nas.report import network
    from nas.run.find import find_run

    refuse_unused(space_name=(find_run(what)[0] is not None, f"{what} has a space of its own"))
    network.show(what, device, space_name, classes, measure=measure, plot=plot, size=size)
