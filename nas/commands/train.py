"""`nas train`."""

from pathlib import Path
from typing import Any

import click

from nas.commands.options import PATH, Command, options_of, refuse_unused
from nas.commands.output import printing
from nas.output import Output
from nas.training.config import TrainConfig


@click.command("train", cls=Command)
@click.argument("network", metavar="ANCHOR|FILE|RUN[:NETWORK]")
@options_of(TrainConfig)
@click.option("--to", "folder", type=PATH, help="Folder of the training.  [default: runs/train-NAME-TIME]")
@printing
def command(network: str, folder: Path | None, output: Output, **options: Any) -> None:
    """Fully train an anchor, the network of a genotype file or a run's best network, for deployment.

    Training continues from the network's weights in the run, if any; otherwise it inherits from the donor, as in a search.
    """
    from nas.run.find import leaves_input_open
    from nas.sessions import train
    from nas.training import summary

    refuse_unused(space=(not leaves_input_open(network), f"{network} specifies its input; use --input to change it"))
    with output.progress() as progress:
        trained = train.start(TrainConfig(network=network, **options), folder, progress)
    summary.end(output, trained)
