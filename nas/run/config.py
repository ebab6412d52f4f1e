"""Config: what a run was asked for, with every default resolved."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from evaluators.data.preprocess import Fit, Interpolation
from evaluators.training.recipe import Metric, Recipe
from nas.budget.latency_budget import LatencyBudget
from search_spaces.anchor import anchor_names
from search_spaces.genotype import PaddingRule
from search_spaces.schema import AboveZero, Count, Means, Seed, Stds, strict

FORMAT = 6
RUN, JOURNAL, DONOR = "run.yaml", "journal.log", "donor"  # names in a run folder
Cost = Literal["latency", "params", "macs"]
Evaluator = Literal["training", "supernet"]
Percentile = Literal[50, 90]


@strict
@dataclass(frozen=True)
class Config:
    """What was asked for, with every default resolved, and what must be known of the images without reading them.

    Networks inherit from `donor` (its name; None: all begin at random), whose rule of `padding` they follow. Images are
    fitted to a network's input by `fit` and `interpolation`, and normalised by `mean` and `std`, by channel of pixels in 0..1:
    the donor's, or else those of the training set. `metric` ranks networks. Of the hand-designed networks within the budget,
    the best `rivals` by their probes are trained. `anchors` stand in the run besides those of its space. Candidates are
    trained by `recipe`, finalists and anchors by `final_recipe`, taught by the network that `distill` names; those that may
    still win, with `final_seeds` seeds. `percentile` of the measured times must hold the budget; `cost` is the second
    objective, if any; `measure` is False where the device is elsewhere; `baseline` adds a random search of as many trainings.
    With the `evaluator` "supernet" candidates are scored by one that is trained for
    `supernet_epochs` by `recipe`. 16-bit grey images use `depth` bits. `workers` is None where the cluster at `address`
    decides. `fingerprint` tells whether the data set is still the same (evaluators.data.dataset.Dataset); one that was made up
    has none.
    """

    space: str
    budget_ms: AboveZero
    device: str
    data: str
    classes: Annotated[list[str], Field(min_length=1)]
    mean: Means
    std: Stds
    fit: Fit
    interpolation: Interpolation
    padding: PaddingRule
    donor: str | None
    metric: Metric
    trials: Count
    seconds: AboveZero | None
    finalists: Count
    rivals: Count
    seed: Seed
    sampler: str
    workers: Count | None
    address: str | None
    recipe: Recipe
    final_recipe: Recipe
    distill: str | None = None
    anchors: list[str] = field(default_factory=list)
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    percentile: Percentile = 50
    measure: bool = True
    cost: Cost | None = None
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    final_seeds: Count = 2
    baseline: bool = False
    evaluator: Evaluator = "training"
    supernet_epochs: Count = 20
    fingerprint: dict[str, int | str] = field(default_factory=dict)

    @property
    def latency_budget(self) -> LatencyBudget:
        return LatencyBudget(self.budget_ms, self.percentile, self.confidence, self.measure)


def donor_anchor(donor: str | None) -> list[str]:
    """The hand-designed network that a donor is, which then stands in the run; none for a network of the user's."""
    return [donor] if donor in anchor_names() else []
