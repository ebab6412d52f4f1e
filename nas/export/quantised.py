"""Calibration images for exports in int8: from the training set of the run, never from validation or test."""

from typing import TYPE_CHECKING, Any

from nas.run.folder import Run
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from torch import Tensor

    from evaluators.data import Dataset


def calibration_of(run: Run, network: dict[str, Any], dataset: "Dataset") -> "Tensor | None":
    """Images [N, C, H, W] that a network of a run's result is quantised on; None if the run is in float32."""
    import torch

    from evaluators.training.batches import Batches
    from evaluators.training.deployed import calibration_images

    if run.resolved.precision != "int8":
        return None
    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    return calibration_images(Batches.of(dataset.train, run.preprocessing(genotype.input), torch.device("cpu")))
