"""`nas device`."""

import sys
from pathlib import Path
from typing import Any

import click

from nas.commands.options import PATH, SEED, Group, options_of, showing
from nas.sessions.measure import MeasureConfig


@click.group("device", cls=Group)
def command() -> None:
    """Devices that latency is measured on."""


EFFORT = click.option(
    "--effort",
    type=click.Choice(["quick", "normal", "full"]),
    default="normal",
    show_default=True,
    help="How many networks, and how long each is timed.",
)


@command.command("measure")
@options_of(MeasureConfig)
def measure(**options: Any) -> None:
    """Measure this machine (a couple of minutes) and keep its profile."""
    from nas.sessions import device

    with showing() as progress:
        progress.say(f"Profile: {device.measure(MeasureConfig(**options), progress)}")


@command.command("list")
def list_() -> None:
    """The device profiles there are."""
    from nas.sessions import device

    device.listed()


@command.command("show")
@click.argument("name", default="local")
@click.option("--plot", type=PATH, help="Write predicted against measured: FILE.png or FILE.svg.")
def show(name: str, plot: Path | None) -> None:
    """A profile: device, runtime, what it was calibrated for, its error on networks it was not fitted to."""
    from nas.sessions import device

    device.show(name, plot)


@command.command("check")
@click.argument("name", default="local")
@click.option("--space", "space_name", help="The space whose networks are timed again.  [default: the one measured last]")
def check(name: str, space_name: str | None) -> None:
    """Time a few of a profile's networks again: exit code 1 when it does not hold any more."""
    from nas.sessions import device

    if not device.check(name, space_name):
        sys.exit(1)


@command.command("bundle")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space to calibrate for.")
@click.option("--to", "folder", type=PATH, help="Where to write.  [default: SPACE-bundle]")
@click.option("--runtime", default="", help="onnxruntime_cpu or litert_cpu (TFLite files).  [default: onnxruntime_cpu]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The choice of networks follows from it.")
@EFFORT
def bundle(space_name: str, folder: Path | None, runtime: str, seed: int, effort: str) -> None:
    """Write networks and a script to time them on another machine, without torch and this project."""
    from nas.sessions import device

    device.bundle(space_name, folder, effort, seed, runtime)


@command.command("import")
@click.argument("results", type=PATH)
@click.option("--bundle", "folder", type=PATH, required=True, help="The bundle that was timed.")
@click.option("--device", "name", default="local", help="The profile's name.  [default: made of the device's identity]")
def import_(results: Path, folder: Path, name: str) -> None:
    """Make a profile of what a bundle's script has written."""
    from nas.sessions import device

    device.import_(results, folder, name)
