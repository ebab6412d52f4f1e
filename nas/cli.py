"""The command line. Thin: it reads flags, calls the packages, prints; what is slow to import is imported where it is used."""

import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from search_spaces.errors import InputError

_UNITS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}
_TIMES = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit, such as 20ms; converted to the unit whose factor is 1."""

    def __init__(self, name: str, units: dict[str, float], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zµ]+)\s*", str(value))
        if not match or match[2] not in self._units:
            self.fail(f'"{value}" is not a number with a unit ({", ".join(self._units)}), such as {self._example}', param, ctx)
        number = float(match[1]) * self._units[match[2]]
        if number <= 0:
            self.fail(f"{value} must be above 0", param, ctx)
        return number


LATENCY = _Quantity("latency", _UNITS, "20ms")
DURATION = _Quantity("duration", _TIMES, "15m")
_AT_LEAST_1 = click.IntRange(min=1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="compact-nas", prog_name="nas")
def cli() -> None:
    """Finds the most accurate compact network within a latency budget, as measured on your device."""


@cli.command()
@click.option("--space", "space_name", default="mobile", show_default=True, help="Search space: a name or a .yaml file.")
@click.option(
    "--latency-budget", "budget_ms", type=LATENCY, required=True, help="What the network may take on the device: 20ms."
)
@click.option("--anchor", "anchors", multiple=True, help="A further anchor for this run; may be given several times.")
@click.option("--data", default="fashion-mnist-small", show_default=True, help="NAME or NAME:PATH; see `nas list datasets`.")
@click.option(
    "--device",
    default="local",
    show_default=True,
    help="Device profile; measured on first use when it is this machine.",
)
@click.option("--trials", type=_AT_LEAST_1, default=12, show_default=True, help="Candidates to train, anchors not counted.")
@click.option("--time", "seconds", type=DURATION, help="Ask for no more candidates after this long: 15m.")
@click.option("--workers", type=_AT_LEAST_1, help="Trainings at once.  [default: one a processor]")
@click.option("--address", help="An existing Ray cluster, such as 10.0.0.1:6379, instead of this machine.")
@click.option("--seed", type=int, default=0, show_default=True, help="Everything random follows from it.")
@click.option("--sampler", default="tpe", show_default=True, help="Who proposes candidates: tpe or random.")
@click.option("--finalists", type=_AT_LEAST_1, default=3, show_default=True, help="How many of the best are retrained longer.")
@click.option("--recipe", default="standard", show_default=True, help="Training recipe: a name or a .yaml file.")
@click.option("--epochs", type=_AT_LEAST_1, help="Epochs of a candidate that is not stopped early.  [default: the recipe's]")
@click.option("--final-epochs", type=_AT_LEAST_1, help="Epochs of finalists and anchors.  [default: the recipe's]")
@click.option(
    "--train-size",
    type=_AT_LEAST_1,
    help="Side of the training pictures.  [default: theirs, at most the space's input]",
)
@click.option("--run", "run_path", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/SPACE-BUDGET-TIME]")
@click.option("--download", is_flag=True, help="Let the data set be downloaded (checksums are verified).")
def search(**flags: Any) -> None:
    """Search a space for the most accurate network within a latency budget."""
    from nas import session

    session.start(**flags)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--workers", type=_AT_LEAST_1, help="Trainings at once.  [default: as before]")
def resume(run: Path, workers: int | None) -> None:
    """Go on with an interrupted search; nothing that was finished is done again."""
    from nas import session

    session.resume(run, workers)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def status(run: Path) -> None:
    """How far a run is, and the best so far."""
    from nas import describe

    describe.status(run)


@cli.command()
@click.argument("what")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space whose calibration predicts it.")
@click.option("--classes", type=_AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
def show(what: str, device: str, space_name: str, classes: int | None) -> None:
    """A genotype file's, anchor's or run's network: blocks, shapes, params, MACs, predicted milliseconds."""
    from nas import describe

    describe.show(what, device, space_name, classes)


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--check", is_flag=True, help="Rebuild them and compare with what was published, by the rule of each source.")
def anchors(names: tuple[str, ...], device: str, check: bool) -> None:
    """The hand-designed networks, all or those NAMED: params, MACs, published accuracy, predicted latency."""
    from nas import describe

    if check:
        describe.check_anchors(names)
    else:
        describe.anchors(device, names)


@cli.group()
def device() -> None:
    """Devices that latency is measured on."""


@device.command("measure")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space to calibrate for.")
@click.option("--device", "name", default="local", show_default=True, help="The profile's name.")
def device_measure(space_name: str, name: str) -> None:
    """Measure this machine (a couple of minutes) and keep its profile."""
    from nas import describe

    describe.measure(space_name, name)


@device.command("list")
def device_list() -> None:
    """The device profiles there are."""
    from nas import describe

    describe.devices()


@device.command("show")
@click.argument("name", default="local")
def device_show(name: str) -> None:
    """A profile: device, runtime, what it was calibrated for, its error on networks it was not fitted to."""
    from nas import describe

    describe.device(name)


@cli.command()
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where to write.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="An id or anchor of the run.  [default: the best]")
@click.option("--weights", type=click.Path(path_type=Path), help="For an anchor: a file of trained weights of its own library.")
def export(what: str, folder: Path | None, network: str | None, weights: Path | None) -> None:
    """Write a run's network, or an anchor with trained weights, for deployment: genotype text, ONNX, safetensors."""
    from nas import session

    if weights:
        session.export_pretrained(what, weights, folder)
    else:
        session.export_run(Path(what), folder, network)


@cli.command("list")
@click.argument("what", type=click.Choice(["spaces", "blocks", "anchors", "devices", "datasets"]))
def list_(what: str) -> None:
    """What there is: spaces, blocks, anchors, devices, datasets."""
    from nas import listing

    listing.show(what)


def main() -> None:
    """Entry point: an error for people is one message and exit code 2; Ctrl-C is exit code 130."""
    try:
        cli(standalone_mode=False)
    except InputError as error:
        click.echo(f"nas: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("nas: stopped", err=True)
        sys.exit(130)


def default_run_folder(space: str, budget_ms: float) -> Path:
    return Path("runs") / f"{space}-{budget_ms:g}ms-{datetime.now():%Y%m%d-%H%M%S}"
