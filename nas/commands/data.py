"""`nas data`."""

from typing import TYPE_CHECKING

import click

from nas.commands.options import Command, Group, showing

if TYPE_CHECKING:
    from evaluators.data.preprocess import Fit


@click.group("data", cls=Group)
def command() -> None:
    """Look at data sets."""


@command.command("check", cls=Command)
@click.argument("data", metavar="NAME|NAME:PATH")
@click.option(
    "--fit", type=click.Choice(["crop", "pad"]), default="crop", show_default=True, help="How images are to be fitted."
)
@click.option("--download", is_flag=True, help="Download the data set if needed (checksums are verified).")
def check(data: str, fit: "Fit", download: bool) -> None:
    """Read every image of a data set, and say what there is and what is wrong with it.

    Unreadable images are listed by name; exit code 2.
    """
    from nas.report import data as report

    with showing() as progress:
        report.show(progress, data, fit, download)
