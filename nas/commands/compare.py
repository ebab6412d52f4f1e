"""`nas compare`."""

from typing import TYPE_CHECKING

import click

from nas.commands.options import AT_LEAST_1, PRECISION, SIZE, Command, refuse_unused

if TYPE_CHECKING:
    from evaluators.latency.runtime import Precision


@click.command("compare", cls=Command)
@click.argument("first")
@click.argument("second")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@PRECISION
@click.option(
    "--space", "space_name", default="mobile", show_default=True, help="Space whose calibration is used to predict latency."
)
@click.option("--classes", type=AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
@SIZE
@click.option("--measure", is_flag=True, help="Measure both on this machine, untrained, interleaved in one session.")
def command(
    *,
    first: str,
    second: str,
    device: str,
    precision: "Precision | None",
    space_name: str,
    classes: int | None,
    size: str | None,
    measure: bool,
) -> None:
    """Compare two networks: genotype files, anchors (ANCHOR or ANCHOR@SIZE), or runs."""
    from nas.budget.device import device_at
    from nas.report import comparison
    from nas.run.find import find_run

    own = [what for what in (first, second) if find_run(what)[0]]
    refuse_unused(space_name=(len(own) == 2, "both runs have their own space"))
    device = device_at(device, precision)
    comparison.compare((first, second), device, space_name, classes=classes, measure=measure, size=size)
