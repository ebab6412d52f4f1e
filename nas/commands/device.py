"""`nas device`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.commands.options import PATH, SEED, Group, options_of, showing
from nas.sessions.measure import MeasureConfig

if TYPE_CHECKING:
    from evaluators.precision import Precision


@click.group("device", cls=Group)
def command() -> None:
    """Measure devices and manage their profiles."""


EFFORT = click.option(
    "--effort",
    type=click.Choice(["quick", "normal", "full"]),
    default="normal",
    show_default=True,
    help="Number of networks, and time spent on each.",
)


@command.command("measure")
@options_of(MeasureConfig)
def measure(**options: Any) -> None:
    """Measure this machine (a few minutes) and save its profile."""
    from nas.sessions import device

    with showing() as progress:
        progress.say(f"Profile: {device.measure(MeasureConfig(**options), progress)}")


@command.command("list")
def list_() -> None:
    """List device profiles."""
    from nas.sessions import device

    device.listed()


@command.command("show")
@click.argument("name", default="local")
@click.option("--plot", type=PATH, help="Plot predicted against measured latency: FILE.png or FILE.svg.")
def show(name: str, plot: Path | None) -> None:
    """Show a profile: device, runtime, calibrated spaces, prediction error on held-out networks."""
    from nas.sessions import device

    device.show(name, plot)


@command.command("check")
@click.argument("name", default="local")
@click.option("--space", "space_name", help="Space whose networks are measured again.  [default: the one measured last]")
def check(name: str, space_name: str | None) -> None:
    """Measure a few of a profile's networks again; exit code 1 if the profile is out of date."""
    from nas.sessions import device

    if not device.check(name, space_name):
        sys.exit(1)


@command.command("bundle")
@click.option("--space", "space_name", default="mobile", show_default=True, help="Space to calibrate for.")
@click.option("--to", "folder", type=PATH, help="Output folder.  [default: SPACE-bundle]")
@click.option("--runtime", default="", help="onnxruntime_cpu or litert_cpu (TFLite files).  [default: onnxruntime_cpu]")
@click.option(
    "--precision", type=click.Choice(["float32", "int8"]), help="Precision of the networks.  [default: the runtime's, float32]"
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Random seed for the choice of networks.")
@EFFORT
def bundle(space_name: str, folder: Path | None, runtime: str, precision: "Precision | None", seed: int, effort: str) -> None:
    """Write networks and a script to measure them on another machine, without torch or this project."""
    from evaluators.latency.runtime import DEFAULT, at_precision
    from nas.sessions import device

    device.bundle(space_name, folder, effort, seed, at_precision(runtime or DEFAULT, precision))


@command.command("import")
@click.argument("results", type=PATH)
@click.option("--bundle", "folder", type=PATH, required=True, help="The bundle that was measured.")
@click.option("--device", "name", default="local", help="Name of the profile.  [default: derived from the device]")
def import_(results: Path, folder: Path, name: str) -> None:
    """Create a profile from the results of a bundle's script."""
    from nas.sessions import device

    device.import_(results, folder, name)
