"""TrainConfig: the options of a training."""

from dataclasses import dataclass
from typing import Annotated

from evaluators.data.preprocess import Fit
from evaluators.precision import Precision
from evaluators.training.recipe import Metric
from nas.run.config import Number, RunSeed
from nas.run.options import Option
from search_spaces.schema import strict


@strict
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of a training; `network` is an anchor, a genotype file, or RUN[:NETWORK]."""

    network: str
    data: Annotated[
        str | None,
        Option("Data set: NAME or NAME:PATH; see `nas list datasets`.", unset="the run's, else fashion-mnist-small"),
    ] = None
    recipe: Annotated[
        str | None, Option("Training recipe: a name or a .yaml file.", unset="finetune_final; from scratch: full")
    ] = None
    epochs: Annotated[Number | None, Option("Number of epochs.", unset="the recipe's")] = None
    weights: Annotated[
        str | None,
        Option(
            "Trained network to inherit weights from, as in `nas search`.",
            metavar="DONOR",
            unset="the run's weights, else the installed donor",
        ),
    ] = None
    from_scratch: Annotated[bool, Option("Initialise weights at random.")] = False
    precision: Annotated[Precision, Option("Precision that the network is deployed in.")] = "float32"
    input: Annotated[str | None, Option("Input size: SIDE, or HEIGHTxWIDTH.", unset="the network's own")] = None
    fit: Annotated[Fit | None, Option("Fit images to the input by cropping or padding.", unset="the run's, else crop")] = None
    metric: Annotated[Metric, Option("Accuracy metric to report.")] = "top1"
    class_weights: Annotated[bool, Option("Weigh images in the loss by the inverse of their class's number.")] = False
    seed: Annotated[RunSeed, Option("Random seed.")] = 0
    distill: Annotated[
        str | None,
        Option("Distill from a teacher: folder of a trained network, or an anchor.", metavar="TEACHER", unset="no teacher"),
    ] = None
    space: Annotated[str, Option("Space whose largest input is used for a genotype file without one.")] = "mobile"
    download: Annotated[bool, Option("Download the data set if needed (checksums are verified).")] = False
    tensorboard: Annotated[bool, Option("Also write TensorBoard event files, in the folder tensorboard/.")] = False
