"""TrainConfig: what the training of one network is asked for."""

from dataclasses import dataclass
from typing import Annotated

from evaluators.data.preprocess import Fit
from evaluators.training.recipe import Metric
from nas.run.config import Number, RunSeed
from nas.run.options import Option
from search_spaces.schema import strict


@strict
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a training is asked for; `network` is an anchor, a genotype file, or RUN[:NETWORK]."""

    network: str
    data: Annotated[
        str | None,
        Option("Data set: NAME or NAME:PATH; see `nas list datasets`.", unset="the run's, else fashion-mnist-small"),
    ] = None
    recipe: Annotated[str | None, Option("Recipe: a name or a .yaml file.", unset="finetune_final, or full from scratch")] = (
        None
    )
    epochs: Annotated[Number | None, Option("Epochs of training.", unset="the recipe's")] = None
    weights: Annotated[
        str | None,
        Option(
            "Trained network to inherit from, as in `nas search`.", metavar="DONOR", unset="the run's, else the installed one"
        ),
    ] = None
    from_scratch: Annotated[bool, Option("Begin at random.")] = False
    input: Annotated[str | None, Option("Input: a side, or HEIGHTxWIDTH.", unset="the network's own")] = None
    fit: Annotated[Fit | None, Option("How images are brought to the input.", unset="the run's, else crop")] = None
    metric: Annotated[Metric, Option("Accuracy that is reported.")] = "top1"
    seed: Annotated[RunSeed, Option("Seed of everything random.")] = 0
    distill: Annotated[
        str | None,
        Option("Train with a teacher: a trained network's folder, or an anchor.", metavar="TEACHER", unset="no teacher"),
    ] = None
    space: Annotated[str, Option("Whose largest input a genotype file without one gets.")] = "mobile"
    download: Annotated[bool, Option("Let the data set be downloaded (checksums are verified).")] = False
