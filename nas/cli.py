"""The command line. Thin: it reads flags, calls the packages, prints; what is slow to import is imported where it is used."""

import platform
import re
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nas import samplers
from nas.pareto import COSTS
from nas.signals import Stop
from search_spaces.errors import InputError, os_reason, quoted
from search_spaces.resources import expanded

_UNITS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}
_DAYS = 11 * 24 * 3600  # the longest that is understood, in seconds
_TIMES = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit, such as 20ms; converted to the unit whose factor is 1."""

    def __init__(self, name: str, units: dict[str, float], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*([0-9]{0,20}\.?[0-9]{1,20})\s*([a-zµ]+)\s*", str(value))
        if not match or match[2] not in self._units:
            units = ", ".join(self._units)
            self.fail(f"{quoted(value)} is not a number with a unit ({units}), such as {self._example}", param, ctx)
        number = float(match[1]) * self._units[match[2]]
        if not 0 < number / self._units["s"] <= _DAYS:
            self.fail(f"{value} must be above 0 and less than eleven days", param, ctx)
        return number


class _Path(click.Path):
    """A path; `~` and `~name` are home folders."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "":
            self.fail("it is empty", param, ctx)
        try:
            return expanded(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)


class _Finite(click.FloatRange):
    """A number in a range, which nan is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number", param, ctx)
        return number


class _Command(click.Command):
    """A command none of whose arguments and flags may be given as nothing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            name, value = parameter.name or "", ctx.params.get(parameter.name or "")
            given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if given and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise click.BadParameter("it is empty", ctx, parameter)
        return rest


class _Group(click.Group):
    """Commands of this kind."""

    command_class = _Command
    group_class = type


LATENCY = _Quantity("latency", _UNITS, "20ms")
DURATION = _Quantity("duration", _TIMES, "15m")
_AT_LEAST_1 = click.IntRange(min=1, max=10**6)
_SEED = click.IntRange(min=0, max=2**32 - 1)
_PATH = _Path(path_type=Path)
_FIT = click.option(
    "--fit",
    type=click.Choice(["crop", "pad"]),
    default="crop",
    show_default=True,
    help="Bring images to an input by cropping what is beyond it, or by padding them with black.",
)
_METRIC = click.option(
    "--metric",
    type=click.Choice(["top1", "balanced_accuracy", "macro_f1"]),
    default="top1",
    show_default=True,
    help="By which accuracies are told and networks ranked.",
)
_SIZE = click.option("--input", "size", help="Input: a side, or HEIGHTxWIDTH.  [default: the network's own]")


def _refuse_unused(**unused: tuple[bool, str]) -> None:
    """Raises click.UsageError for a flag that was given though it has no effect: (whether it has none, why and what has)."""
    context = click.get_current_context()
    for parameter in context.command.params:
        useless, why = unused.get(parameter.name or "", (False, ""))
        if useless and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} has no effect here: {why}")


def _objectives(_: click.Context, __: click.Parameter, value: str) -> str | None:
    """The second objective, None when accuracy is the only one."""
    first, _comma, second = (part.strip() for part in value.partition(","))
    if first != "accuracy" or second not in ("", *COSTS):
        raise click.BadParameter(
            f'"{value}" is not accuracy, or accuracy and one of {", ".join(COSTS)}, such as accuracy,latency'
        )
    return second or None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
@click.option("--trials", type=_AT_LEAST_1, default=8, show_default=True, help="Candidates to train, anchors not counted.")
@click.option("--time", "seconds", type=DURATION, help="Ask for no more candidates after this long: 15m.")
@click.option(
    "--workers", type=_AT_LEAST_1, help="Trainings at once.  [default: one a processor, of the cluster if there is one]"
)
@click.option("--address", help="An existing Ray cluster, such as 10.0.0.1:6379, instead of this machine.")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Everything random follows from it.")
@click.option(
    "--sampler",
    default=samplers.DEFAULT,
    show_default=True,
    help=f"Who proposes candidates: {', '.join(samplers.names())}.",
)
@click.option(
    "--objectives",
    "cost",
    default="accuracy",
    show_default=True,
    callback=_objectives,
    help="accuracy, or accuracy,latency (params, macs): the front of both.",
)
@click.option("--finalists", type=_AT_LEAST_1, default=2, show_default=True, help="How many of the best are retrained longer.")
@click.option(
    "--final-seeds", type=_AT_LEAST_1, default=1, show_default=True, help="Seeds that those are retrained with which may win."
)
@click.option("--baseline", is_flag=True, help="Random search of as many trainings as well, to compare with.")
@click.option(
    "--evaluator",
    type=click.Choice(["training", "supernet"]),
    default="training",
    show_default=True,
    help="Who rates candidates: a short training each, or weights that they share, trained once.",
)
@click.option(
    "--supernet-epochs", type=_AT_LEAST_1, default=20, show_default=True, help="For how long shared weights are trained."
)
@click.option(
    "--weights",
    metavar="DONOR",
    help="Trained network to inherit from: ANCHOR=FILE, a folder of `nas train` or `nas export`, or a name of "
    "`nas list donors`.  [default: the installed one]",
)
@click.option("--from-scratch", is_flag=True, help="Inherit nothing: every network begins at random.")
@_FIT
@_METRIC
@click.option(
    "--rivals",
    type=_AT_LEAST_1,
    default=2,
    show_default=True,
    help="Hand-designed networks trained beside the search, besides the donor: the best by their probes.",
)
@click.option(
    "--recipe", help="How candidates are trained: a name or a .yaml file.  [default: finetune, or proxy from scratch]"
)
@click.option(
    "--final-recipe",
    help="How finalists and hand-designed networks are trained.  [default: finetune_final, or final from scratch]",
)
@click.option("--epochs", type=_AT_LEAST_1, help="Epochs of a candidate that is not stopped early.  [default: the recipe's]")
@click.option("--final-epochs", type=_AT_LEAST_1, help="Epochs of finalists and anchors.  [default: the recipe's]")
@click.option("--distill", metavar="TEACHER", help="Retrain with a teacher: a trained network's folder, or an anchor.")
@click.option(
    "--confidence",
    type=_Finite(0.5, 1.0, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the predicted upper bound that rejects candidates.",
)
@click.option(
    "--percentile",
    type=click.Choice(["50", "90"]),
    default="50",
    show_default=True,
    callback=lambda _, __, value: int(value),
    help="Which percentile of the measured times must hold the budget.",
)
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="Without measuring, the device may be elsewhere: predictions alone constrain the search.",
)
@click.option("--run", "run_path", type=_PATH, help="The run's folder.  [default: runs/SPACE-BUDGET-TIME]")
@click.option("--download", is_flag=True, help="Let the data set be downloaded (checksums are verified).")
def search(**flags: Any) -> None:
    """Search a space for the most accurate network within a latency budget."""
    from nas import session

    supernet = flags["evaluator"] == "supernet"
    _refuse_unused(
        epochs=(supernet, "a supernet scores candidates, and is trained for --supernet-epochs"),
        supernet_epochs=(
            not supernet,
            "candidates are trained one by one, each for --epochs; --evaluator supernet shares weights",
        ),
    )

    session.start(**flags)


@cli.command()
@click.argument("what", metavar="ANCHOR|FILE|RUN[:NETWORK]")
@click.option("--data", help="NAME or NAME:PATH; see `nas list datasets`.  [default: the run's, else fashion-mnist-small]")
@click.option("--recipe", help="How it is trained: a name or a .yaml file.  [default: finetune_final, or full from scratch]")
@click.option("--epochs", type=_AT_LEAST_1, help="For how many epochs.  [default: the recipe's]")
@click.option("--weights", metavar="DONOR", help="Trained network to inherit from, as in `nas search`.")
@click.option("--from-scratch", is_flag=True, help="Begin at random.")
@_SIZE
@click.option(
    "--fit", type=click.Choice(["crop", "pad"]), help="How images are brought to it.  [default: the run's, else crop]"
)
@_METRIC
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Everything random follows from it.")
@click.option("--distill", metavar="TEACHER", help="Train with a teacher: a trained network's folder, or an anchor.")
@click.option(
    "--space", "space_name", default="mobile", show_default=True, help="Whose largest input a genotype FILE without one gets."
)
@click.option("--to", "folder", type=_PATH, help="The folder.  [default: runs/train-NAME-TIME]")
@click.option("--download", is_flag=True, help="Let the data set be downloaded (checksums are verified).")
def train(**flags: Any) -> None:
    """Train an anchor, a genotype file's network or a run's best at full length, for deployment.

    It goes on from the weights that a run left for the network; else it inherits from the donor, as in a search.
    """
    from nas import describe
    from nas import train as training

    what = flags["what"]
    _refuse_unused(space_name=(not describe.leaves_input_open(what), f"{what} names its input; --input asks for another"))
    training.start(**flags)


@cli.command()
@click.argument("run", type=_PATH)
@click.option("--workers", type=_AT_LEAST_1, help="Trainings at once.  [default: as before]")
def resume(run: Path, workers: int | None) -> None:
    """Go on with an interrupted search or training; nothing that was finished is done again."""
    from nas import session
    from nas import train as training

    _refuse_unused(workers=(training.is_training(run), f"{run} is a training of one network"))
    session.resume(run, workers)


@cli.command()
@click.argument("run", type=_PATH)
def status(run: Path) -> None:
    """How far a run or a training is, and the best so far."""
    from nas import describe

    describe.status(run)


@cli.command()
@click.argument("run", type=_PATH)
@click.option(
    "--latency-budget", "budget_ms", type=LATENCY, help="Another budget than the run's: 12ms.  [default: show the front]"
)
def best(run: Path, budget_ms: float | None) -> None:
    """What a run answers for another latency budget, without another search."""
    from nas import best as answers

    answers.best(run, budget_ms)


@cli.command()
@click.argument("what")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space whose calibration predicts it.")
@click.option("--classes", type=_AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
@_SIZE
@click.option("--measure", is_flag=True, help="Time it on this machine, untrained, also by the runtime's own profile.")
@click.option("--plot", type=_PATH, help="Write the milliseconds as a bar chart: FILE.png or FILE.svg.")
def show(
    what: str, device: str, space_name: str, classes: int | None, size: str | None, measure: bool, plot: Path | None
) -> None:
    """A genotype file's, anchor's or run's network: blocks, shapes, params, MACs, where its milliseconds go."""
    from nas import describe

    _refuse_unused(space_name=(describe.find_run(what)[0] is not None, f"{what} has a space of its own"))
    describe.show(what, device, space_name, classes, measure, plot, size)


@cli.command()
@click.argument("first")
@click.argument("second")
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space whose calibration predicts them.")
@click.option("--classes", type=_AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]")
@_SIZE
@click.option("--measure", is_flag=True, help="Time both on this machine, untrained, in turns in one session.")
def compare(
    first: str, second: str, device: str, space_name: str, classes: int | None, size: str | None, measure: bool
) -> None:
    """Two networks side by side: genotype files, anchors, also as ANCHOR@SIZE, or runs."""
    from nas import compare as comparing
    from nas import describe

    own = [what for what in (first, second) if describe.find_run(what)[0]]
    _refuse_unused(space_name=(len(own) == 2, "both have spaces of their own"))
    comparing.compare((first, second), device, space_name, classes, measure, size)


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--check", is_flag=True, help="Rebuild them and compare with what was published, by the rule of each source.")
def anchors(names: tuple[str, ...], device: str, check: bool) -> None:
    """The hand-designed networks, all or those NAMED: params, MACs, published accuracy, predicted latency."""
    from nas import describe

    _refuse_unused(device=(check, "--check compares with what was published"))
    if check:
        describe.check_anchors(names)
    else:
        describe.anchors(device, names)


@cli.group()
def device() -> None:
    """Devices that latency is measured on."""


_EFFORT = click.option(
    "--effort",
    type=click.Choice(["quick", "normal", "full"]),
    default="normal",
    show_default=True,
    help="How many networks, and how long each is timed.",
)


@device.command("measure")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space to calibrate for.")
@click.option("--device", "name", default="local", show_default=True, help="The profile's name.")
@click.option("--runtime", default="onnxruntime_cpu", show_default=True, help="What runs the networks.")
@click.option("--threads", type=_AT_LEAST_1, default=1, show_default=True, help="Threads of the runtime.")
@_EFFORT
def device_measure(space_name: str, name: str, runtime: str, threads: int, effort: str) -> None:
    """Measure this machine (a couple of minutes) and keep its profile."""
    from nas import devices

    devices.measure(space_name, name, runtime, threads, effort)


@device.command("list")
def device_list() -> None:
    """The device profiles there are."""
    from nas import devices

    devices.listed()


@device.command("show")
@click.argument("name", default="local")
@click.option("--plot", type=_PATH, help="Write predicted against measured: FILE.png or FILE.svg.")
def device_show(name: str, plot: Path | None) -> None:
    """A profile: device, runtime, what it was calibrated for, its error on networks it was not fitted to."""
    from nas import devices

    devices.show(name, plot)


@device.command("check")
@click.argument("name", default="local")
@click.option("--space", "space_name", help="The space whose networks are timed again.  [default: the one measured last]")
def device_check(name: str, space_name: str | None) -> None:
    """Time a few of a profile's networks again: exit code 1 when it does not hold any more."""
    from nas import devices

    if not devices.check(name, space_name):
        sys.exit(1)


@device.command("bundle")
@click.option("--space", "space_name", default="mobile", show_default=True, help="The space to calibrate for.")
@click.option("--to", "folder", type=_PATH, help="Where to write.  [default: SPACE-bundle]")
@click.option("--runtime", default="", help="onnxruntime_cpu or litert_cpu (TFLite files).  [default: onnxruntime_cpu]")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="The choice of networks follows from it.")
@_EFFORT
def device_bundle(space_name: str, folder: Path | None, runtime: str, seed: int, effort: str) -> None:
    """Write networks and a script to time them on another machine, without torch and this project."""
    from nas import devices

    devices.bundle(space_name, folder, effort, seed, runtime)


@device.command("import")
@click.argument("results", type=_PATH)
@click.option("--bundle", "folder", type=_PATH, required=True, help="The bundle that was timed.")
@click.option("--device", "name", default="local", help="The profile's name.  [default: made of the device's identity]")
def device_import(results: Path, folder: Path, name: str) -> None:
    """Make a profile of what a bundle's script has written."""
    from nas import devices

    devices.import_(results, folder, name)


@cli.command()
@click.argument("what", metavar="RUN|ANCHOR")
@click.option("--to", "folder", type=_PATH, help="Where to write.  [default: RUN/export, or ANCHOR]")
@click.option("--network", help="An id or anchor of the run.  [default: the best]")
@click.option("--weights", type=_PATH, help="For an anchor: a file of trained weights of its own library.")
def export(what: str, folder: Path | None, network: str | None, weights: Path | None) -> None:
    """Write a run's network, or an anchor with trained weights, for deployment: genotype text, ONNX, safetensors."""
    from nas import session

    _refuse_unused(network=(weights is not None, f"--weights is of the anchor {what}"))
    if weights:
        session.export_pretrained(what, weights, folder)
    else:
        session.export_run(Path(what), folder, network)


@cli.command("list")
@click.argument("what", type=click.Choice(["spaces", "blocks", "anchors", "donors", "devices", "datasets"]))
def list_(what: str) -> None:
    """What there is: spaces, blocks, anchors, donors (trained networks to inherit from), devices, datasets."""
    from nas import listing

    listing.show(what)


def main() -> None:
    """Entry point: an error for people, or of the system, is one message and exit code 2; Ctrl-C is 130, SIGTERM 143."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names that are no UTF-8
    if platform.system() == "Windows":
        click.echo("nas: it runs on Linux and macOS; on Windows use its subsystem for Linux (WSL)", err=True)
        sys.exit(2)
    with Stop() as stop:
        try:
            cli(standalone_mode=False)
        except InputError as error:
            click.echo(f"nas: {error}", err=True)
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(2)
        except OSError as error:
            click.echo(f"nas: {os_reason(error)}", err=True)
            sys.exit(2)
        except (KeyboardInterrupt, click.Abort):
            click.echo("nas: stopped", err=True)
            sys.exit(stop.exit_code)


def entry() -> None:
    """`main` as a process of its own: once it is over, Ctrl-C ends what Python still has to do without a word."""
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def default_run_folder(space: str, budget_ms: float) -> Path:
    return Path("runs") / f"{space}-{budget_ms:g}ms-{datetime.now():%Y%m%d-%H%M%S}"
