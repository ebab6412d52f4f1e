"""SearchConfig: the options of a search; Resolved: the values that they resolve to."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evaluators.data.preprocess import Fit, Interpolation
from evaluators.limits import Limits, budget_text
from evaluators.precision import Precision
from evaluators.training.recipe import Metric, Recipe
from nas.budget.latency_budget import SPARE, LatencyBudget
from nas.pareto import COSTS
from nas.run.options import Option
from search_spaces.anchor import anchor_names
from search_spaces.genotype import PaddingRule
from search_spaces.plugins import Modules
from search_spaces.schema import AboveZero, Means, Stds, strict

RUN, JOURNAL, DONOR = "run.yaml", "journal.log", "donor"  # names in a run folder
Cost = Literal["latency", "params", "macs"]
Percentile = Literal[50, 90]
Number = Annotated[int, Field(ge=1, le=10**6)]
Workers = Annotated[int, Field(ge=0, le=10**6)]
RunSeed = Annotated[int, Field(ge=0, le=2**32 - 1)]
EVALUATORS = Modules("evaluators", "nas.executors.evaluators", "evaluator")  # here, because their names are checked here


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
    """Options of a search: type, bounds, default and help of each field; flags and tables are generated from them."""

    latency_budget_ms: Annotated[
        AboveZero | None,
        Option(
            "Latency that the network must not exceed on the device: 20ms. At least one budget is needed.",
            flag="latency-budget",
            unit="ms",
            unset="no limit",
        ),
    ] = None
    size_budget_bytes: Annotated[
        AboveZero | None,
        Option(
            "Size that the weights must not exceed, at the precision: 500KB.",
            flag="size-budget",
            unit="bytes",
            unset="no limit",
        ),
    ] = None
    memory_budget_bytes: Annotated[
        AboveZero | None,
        Option(
            "Peak activation memory that the network must not exceed, at the precision and batch 1: 256KB.",
            flag="memory-budget",
            unit="bytes",
            unset="no limit",
        ),
    ] = None
    space: Annotated[str, Option("Search space: a name, a .yaml file, or narrower:NETWORK.")] = "mobile"
    data: Annotated[str, Option("Data set: NAME or NAME:PATH; see `nas list datasets`.")] = "fashion-mnist-small"
    device: Annotated[str, Option("Device profile; this machine is measured on first use.")] = "local"
    precision: Annotated[
        Precision | None, Option("Precision that networks are deployed in.", unset="the device profile's, float32 for local")
    ] = None
    trials: Annotated[Number, Option("Number of candidates to train, not counting anchors.")] = 8
    time_s: Annotated[
        AboveZero | None, Option("Propose no more candidates after this time: 15m.", flag="time", unit="s", unset="no limit")
    ] = None
    workers: Annotated[
        Workers | None,
        Option(
            "Parallel trainings; 0 trains in this process, without Ray.", unset="one per processor (of the cluster, if any)"
        ),
    ] = None
    address: Annotated[
        str | None, Option("Existing Ray cluster, such as 10.0.0.1:6379.", unset="start Ray on this machine")
    ] = None
    seed: Annotated[RunSeed, Option("Random seed.")] = 0
    sampler: Annotated[str, Option("Sampler that proposes candidates; see `nas list samplers`.")] = "surrogate"
    objectives: Annotated[
        tuple[str, ...],
        AfterValidator(_objectives),
        Option("accuracy, or accuracy,latency (params, macs) for a Pareto front.", commas=True),
    ] = ("accuracy",)
    anchors: Annotated[tuple[str, ...], Option("Additional anchor to compare with; repeatable.", flag="anchor")] = ()
    rivals: Annotated[
        Number, Option("Hand-designed networks to train for comparison, besides the donor; picked by linear probe.")
    ] = 2
    finalists: Annotated[Number, Option("Number of best candidates to retrain longer.")] = 2
    final_seeds: Annotated[Number, Option("Training seeds per finalist.")] = 1
    baseline: Annotated[bool, Option("Also run random search with as many trainings, as a baseline.")] = False
    evaluator: Annotated[
        str,
        AfterValidator(_evaluator),
        Option("How candidates are evaluated; see `nas list evaluators`."),
    ] = "training"
    supernet_epochs: Annotated[Number, Option("Epochs to train the supernet.")] = 20
    weights: Annotated[
        str | None,
        Option(
            "Trained network to inherit weights from: ANCHOR=FILE, a folder of `nas train` or `nas export`, or a name from "
            "`nas list donors`.",
            metavar="DONOR",
            unset="the installed donor",
        ),
    ] = None
    from_scratch: Annotated[bool, Option("Inherit no weights: initialise every network at random.")] = False
    fit: Annotated[Fit, Option("Fit images to the input by cropping, or by padding with black.")] = "crop"
    metric: Annotated[Metric, Option("Accuracy metric to rank networks by and to report.")] = "top1"
    class_weights: Annotated[bool, Option("Weigh images in the loss by the inverse of their class's number.")] = False
    recipe: Annotated[
        str | None,
        Option("Training recipe of candidates: a name or a .yaml file.", unset="finetune; from scratch: proxy"),
    ] = None
    final_recipe: Annotated[
        str | None,
        Option(
            "Training recipe of finalists and hand-designed networks: a name or a .yaml file.",
            unset="finetune_final; from scratch: final",
        ),
    ] = None
    epochs: Annotated[Number | None, Option("Maximum epochs per candidate.", unset="the recipe's")] = None
    final_epochs: Annotated[Number | None, Option("Epochs per finalist and anchor.", unset="the recipe's")] = None
    distill: Annotated[
        str | None,
        Option(
            "Distill finalists from a teacher: folder of a trained network, or an anchor.",
            metavar="TEACHER",
            unset="no teacher",
        ),
    ] = None
    confidence: Annotated[float, Field(ge=0.5, lt=1), Option("Confidence of the predicted latency upper bound.")] = 0.95
    percentile: Annotated[Percentile, Option("Percentile of measured latency that must be within the budget.")] = 50
    measure: Annotated[bool, Option("Measure latency on this machine; otherwise rely on predictions, for any device.")] = True
    download: Annotated[bool, Option("Download the data set if needed (checksums are verified).")] = False
    tensorboard: Annotated[
        bool, Option("Also write TensorBoard event files of every training, in the folder tensorboard/.")
    ] = False

    @property
    def cost(self) -> str | None:
        """The second objective; None if accuracy is the only one."""
        return self.objectives[1] if len(self.objectives) > 1 else None

    def latency_budget(self, precision: Precision) -> LatencyBudget:
        """The latency budget of networks deployed in `precision`, which decides the margin."""
        budget_ms = self.latency_budget_ms or math.inf
        return LatencyBudget(budget_ms, self.percentile, self.confidence, self.measure, spare=SPARE[precision])

    def limits(self, precision: Precision) -> Limits:
        """What candidates may need; the latency limit leaves the margin of the budget."""
        sizes = self.size_budget_bytes or math.inf, self.memory_budget_bytes or math.inf
        return Limits(self.latency_budget(precision).allowed_ms, *sizes)

    @property
    def budget_text(self) -> str:
        """The budgets as text; empty if none was given."""
        return budget_text(self.latency_budget_ms, self.size_budget_bytes, self.memory_budget_bytes)


@strict
@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Resolved options and data set properties, fixed when the run starts.

    Networks inherit from `donor` (None: random initialisation) and use its `padding` rule. Images are resized with
    `interpolation` and normalised with the per-channel `mean` and `std` of pixels in 0..1, from the donor or else the training
    set; 16-bit grey images use `depth` bits. `precision` is the device profile's. `workers` is None if the cluster decides, 0
    without Ray. `fingerprint` identifies the data set (evaluators.data.dataset.Dataset); synthetic ones have none.
    """

    space: str
    classes: Annotated[list[str], Field(min_length=1)]
    mean: Means
    std: Stds
    interpolation: Interpolation
    padding: PaddingRule
    donor: str | None
    workers: Workers | None
    recipe: Recipe
    final_recipe: Recipe
    anchors: list[str] = field(default_factory=list)
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    fingerprint: dict[str, int | str] = field(default_factory=dict)
    precision: Precision = "float32"


def donor_anchor(donor: str | None) -> list[str]:
    """The donor as an anchor of the run; empty if it is the user's own network."""
    return [donor] if donor in anchor_names() else []
