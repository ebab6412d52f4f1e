"""SearchConfig: what a search is asked for; Resolved: what it then knows of images, donor and recipes."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation
from evaluators.training.recipe import Metric, Recipe
from nas.budget.latency_budget import LatencyBudget
from nas.pareto import COSTS
from nas.run.options import Option
from search_spaces.anchor import anchor_names
from search_spaces.genotype import PaddingRule
from search_spaces.plugins import Modules
from search_spaces.schema import AboveZero, Count, Means, Stds, strict

RUN, JOURNAL, DONOR = "run.yaml", "journal.log", "donor"  # names in a run folder
Cost = Literal["latency", "params", "macs"]
Percentile = Literal[50, 90]
Number = Annotated[int, Field(ge=1, le=10**6)]
RunSeed = Annotated[int, Field(ge=0, le=2**32 - 1)]
EVALUATORS = Modules("evaluators", "nas.executors.evaluators", "evaluator")  # here, where their names are checked


def _evaluator(name: str) -> str:
    EVALUATORS.check(name)
    return name


def _objectives(value: tuple[str, ...]) -> tuple[str, ...]:
    first, *others = value or ("",)
    if first != "accuracy" or len(others) > 1 or not set(others) <= set(COSTS):
        wanted = f"accuracy, or accuracy and one of {', '.join(COSTS)}, such as accuracy,latency"
        raise ValueError(f'"{",".join(value)}" is not {wanted}')
    return value


@strict
@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What a search is asked for: each field with its type, bounds, default and meaning, of which flags and tables are made."""

    latency_budget_ms: Annotated[
        AboveZero, Option("Latency that the network may have on the device: 20ms.", flag="latency-budget", unit="ms")
    ]
    space: Annotated[str, Option("Search space: a name or a .yaml file.")] = "mobile"
    data: Annotated[str, Option("Data set: NAME or NAME:PATH; see `nas list datasets`.")] = "fashion-mnist-small"
    device: Annotated[str, Option("Device profile; measured on first use when it is this machine.")] = "local"
    trials: Annotated[Number, Option("Candidates to train, anchors not counted.")] = 8
    time_s: Annotated[
        AboveZero | None, Option("Ask for no more candidates after this long: 15m.", flag="time", unit="s", unset="no limit")
    ] = None
    workers: Annotated[Number | None, Option("Trainings at once.", unset="one a processor, of the cluster if there is one")] = (
        None
    )
    address: Annotated[
        str | None, Option("An existing Ray cluster, such as 10.0.0.1:6379.", unset="Ray is started on this machine")
    ] = None
    seed: Annotated[RunSeed, Option("Seed of everything random.")] = 0
    sampler: Annotated[str, Option("Sampler that proposes candidates; see `nas list samplers`.")] = "surrogate"
    objectives: Annotated[
        tuple[str, ...],
        AfterValidator(_objectives),
        Option("accuracy, or accuracy,latency (params, macs): the Pareto front of both.", commas=True),
    ] = ("accuracy",)
    anchors: Annotated[
        tuple[str, ...], Option("A further anchor for this run; may be given several times.", flag="anchor")
    ] = ()
    rivals: Annotated[
        Number, Option("Hand-designed networks trained beside the search and the donor: the best by linear probe.")
    ] = 2
    finalists: Annotated[Number, Option("How many of the best are retrained longer.")] = 2
    final_seeds: Annotated[Number, Option("Training seeds per finalist.")] = 1
    baseline: Annotated[bool, Option("Run random search with as many trainings as well, to compare with.")] = False
    evaluator: Annotated[
        str,
        AfterValidator(_evaluator),
        Option("How candidates are rated: by a short training each, or otherwise; see `nas list evaluators`."),
    ] = "training"
    supernet_epochs: Annotated[Number, Option("Epochs for which shared weights are trained.")] = 20
    weights: Annotated[
        str | None,
        Option(
            "Trained network to inherit from: ANCHOR=FILE, a folder of `nas train` or `nas export`, or a name of "
            "`nas list donors`.",
            metavar="DONOR",
            unset="the installed one",
        ),
    ] = None
    from_scratch: Annotated[bool, Option("Inherit nothing: every network begins at random.")] = False
    fit: Annotated[Fit, Option("Bring images to an input by cropping, or by padding with black.")] = "crop"
    metric: Annotated[Metric, Option("Accuracy that is reported and that ranks networks.")] = "top1"
    recipe: Annotated[
        str | None,
        Option("Recipe of candidates: a name or a .yaml file.", unset="finetune, or proxy from scratch"),
    ] = None
    final_recipe: Annotated[
        str | None,
        Option(
            "Recipe of finalists and hand-designed networks: a name or a .yaml file.",
            unset="finetune_final, or final from scratch",
        ),
    ] = None
    epochs: Annotated[Number | None, Option("Epochs of a candidate that is not stopped early.", unset="the recipe's")] = None
    final_epochs: Annotated[Number | None, Option("Epochs of finalists and anchors.", unset="the recipe's")] = None
    distill: Annotated[
        str | None,
        Option("Retrain with a teacher: a trained network's folder, or an anchor.", metavar="TEACHER", unset="no teacher"),
    ] = None
    confidence: Annotated[
        float, Field(ge=0.5, lt=1), Option("Confidence of the predicted upper bound that rejects candidates.")
    ] = 0.95
    percentile: Annotated[Percentile, Option("Percentile of the measured times that must hold the budget.")] = 50
    measure: Annotated[
        bool, Option("Measure on this machine. Without it the device may be elsewhere, and predictions alone decide.")
    ] = True
    download: Annotated[bool, Option("Let the data set be downloaded (checksums are verified).")] = False

    @property
    def cost(self) -> str | None:
        """The second objective, None when accuracy is the only one."""
        return self.objectives[1] if len(self.objectives) > 1 else None

    @property
    def latency_budget(self) -> LatencyBudget:
        return LatencyBudget(self.latency_budget_ms, self.percentile, self.confidence, self.measure)


@strict
@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a configuration's names stood for when the run began, and what must be known of the images without reading them.

    `space` is the space's own name. Networks inherit from `donor` (its name; None: all begin at random), whose rule of
    `padding` they follow. Images are fitted to an input by `interpolation` and normalised by `mean` and `std`, by channel of
    pixels in 0..1: the donor's, or else those of the training set; 16-bit grey images use `depth` bits. `workers` is None where
    the cluster decides. `fingerprint` tells whether the data set is still the same (evaluators.data.dataset.Dataset); one that
    was made up has none.
    """

    space: str
    classes: Annotated[list[str], Field(min_length=1)]
    mean: Means
    std: Stds
    interpolation: Interpolation
    padding: PaddingRule
    donor: str | None
    workers: Count | None
    recipe: Recipe
    final_recipe: Recipe
    anchors: list[str] = field(default_factory=list)
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    fingerprint: dict[str, int | str] = field(default_factory=dict)


def donor_anchor(donor: str | None) -> list[str]:
    """The hand-designed network that a donor is, which then stands in the run; none for a network of the user's."""
    return [donor] if donor in anchor_names() else []
