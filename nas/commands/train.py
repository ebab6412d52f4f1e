"""`nas train`."""

from typing import Any

import click

from nas.commands.options import AT_LEAST_1, METRIC, PATH, SEED, SIZE, Command, refuse_unused


@click.command("train", cls=Command)
@click.argument("what", metavar="ANCHOR|FILE|RUN[:NETWORK]")
@click.option("--data", help="NAME or NAME:PATH; see `nas list datasets`.  [default: the run's, else fashion-mnist-small]")
@click.option("--recipe", help="How it is trained: a name or a .yaml file.  [default: finetune_final, or full from scratch]")
@click.option("--epochs", type=AT_LEAST_1, help="For how many epochs.  [default: the recipe's]")
@click.option("--weights", metavar="DONOR", help="Trained network to inherit from, as in `nas search`.")
@click.option("--from-scratch", is_flag=True, help="Begin at random.")
@SIZE
@click.option(
    "--fit", type=click.Choice(["crop", "pad"]), help="How images are brought to it.  [default: the run's, else crop]"
)
@METRIC
@click.option("--seed", type=SEED, default=0, show_default=True, help="Everything random follows from it.")
@click.option("--distill", metavar="TEACHER", help="Train with a teacher: a trained network's folder, or an anchor.")
@click.option(
    "--space", "space_name", default="mobile", show_default=True, help="Whose largest input a genotype FILE without one gets."
)
@click.option("--to", "folder", type=PATH, help="The folder.  [default: runs/train-NAME-TIME]")
@click.option("--download", is_flag=True, help="Let the data set be downloaded (checksums are verified).")
def command(**flags: Any) -> None:
    """Train an anchor, a genotype file's network or a run's best at full length, for deployment.

    It goes on from the weights that a run left for the network; else it inherits from the donor, as in a search.
    """
    from nas.run.find import leaves_input_open
    from nas.sessions import train

    what = flags["what"]
    refuse_unused(space_name=(not leaves_input_open(what), f"{what} names its input; --input asks for another"))
    train.start(**flags)
