"""Exports in int8: images to calibrate on, from the run's training set; figures of a float32 run's network in int8."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluators.weights import load_network
from nas.run.folder import Run
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from torch import Tensor

    from evaluators.data import Dataset


def calibration_of(run: Run, network: dict[str, Any], dataset: "Dataset") -> "Tensor | None":
    """Images [N, C, H, W] that a network of a run's result is quantised on; None if the run is in float32."""
    return images_of(run, network, dataset) if run.resolved.precision == "int8" else None


def images_of(run: Run, network: dict[str, Any], dataset: "Dataset") -> "Tensor":
    """Images [N, C, H, W] to quantise a network of a run's result on."""
    import torch

    from evaluators.training.batches import Batches
    from evaluators.training.deployed import calibration_images

    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    return calibration_images(Batches.of(dataset.train, run.preprocessing(genotype.input), torch.device("cpu")))


def in_int8(run: Run, network: dict[str, Any], dataset: "Dataset", calibration: "Tensor") -> dict[str, Any]:
    """A network of a float32 run's result with the figures of its int8 form, tested now; its latency was not measured."""
    import torch

    from evaluators.processors import processors
    from evaluators.training.batches import Batches
    from evaluators.training.deployed import deployed

    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    task = genotype.task(len(run.resolved.classes))
    test = Batches.of(dataset.test, run.preprocessing(genotype.input), torch.device("cpu"))
    trained = load_network(genotype, task, run.weights(network["id"]))
    scores = asdict(deployed(trained, task, test, processors(), calibration=calibration).scores)
    unknown = dict.fromkeys(("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n"))
    tested = {"test_by_seed": [scores[run.config.metric]], "float_test_by_seed": network["test_by_seed"][:1]}
    return {**network, **unknown, **tested, "validation_by_seed": []}
