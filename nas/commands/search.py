"""`nas search`."""

from typing import Any

import click

from nas import samplers
from nas.commands.options import (
    AT_LEAST_1,
    DURATION,
    FIT,
    LATENCY,
    METRIC,
    PATH,
    SEED,
    Command,
    Finite,
    objectives,
    refuse_unused,
)


@click.command("search", cls=Command)
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
@click.option("--trials", type=AT_LEAST_1, default=8, show_default=True, help="Candidates to train, anchors not counted.")
@click.option("--time", "seconds", type=DURATION, help="Ask for no more candidates after this long: 15m.")
@click.option(
    "--workers", type=AT_LEAST_1, help="Trainings at once.  [default: one a processor, of the cluster if there is one]"
)
@click.option("--address", help="An existing Ray cluster, such as 10.0.0.1:6379, instead of this machine.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Everything random follows from it.")
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
    callback=objectives,
    help="accuracy, or accuracy,latency (params, macs): the front of both.",
)
@click.option("--finalists", type=AT_LEAST_1, default=2, show_default=True, help="How many of the best are retrained longer.")
@click.option(
    "--final-seeds", type=AT_LEAST_1, default=1, show_default=True, help="Seeds that those are retrained with which may win."
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
    "--supernet-epochs", type=AT_LEAST_1, default=20, show_default=True, help="For how long shared weights are trained."
)
@click.option(
    "--weights",
    metavar="DONOR",
    help="Trained network to inherit from: ANCHOR=FILE, a folder of `nas train` or `nas export`, or a name of "
    "`nas list donors`.  [default: the installed one]",
)
@click.option("--from-scratch", is_flag=True, help="Inherit nothing: every network begins at random.")
@FIT
@METRIC
@click.option(
    "--rivals",
    type=AT_LEAST_1,
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
@click.option("--epochs", type=AT_LEAST_1, help="Epochs of a candidate that is not stopped early.  [default: the recipe's]")
@click.option("--final-epochs", type=AT_LEAST_1, help="Epochs of finalists and anchors.  [default: the recipe's]")
@click.option("--distill", metavar="TEACHER", help="Retrain with a teacher: a trained network's folder, or an anchor.")
@click.option(
    "--confidence",
    type=Finite(0.5, 1.0, max_open=True),
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
@click.option("--run", "run_path", type=PATH, help="The run's folder.  [default: runs/SPACE-BUDGET-TIME]")
@click.option("--download", is_flag=True, help="Let the data set be downloaded (checksums are verified).")
def command(**flags: Any) -> None:
    """Search a space for the most accurate network within a latency budget."""
    from nas.sessions import search

    supernet = flags["evaluator"] == "supernet"
    refuse_unused(
        epochs=(supernet, "a supernet scores candidates, and is trained for --supernet-epochs"),
        supernet_epochs=(
            not supernet,
            "candidates are trained one by one, each for --epochs; --evaluator supernet shares weights",
        ),
    )

    search.start(**flags)
