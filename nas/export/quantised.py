"""Exports in int8: how a run's networks are quantised, on its training images; figures of a float32 run's network in int8."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluators.weights import load_network
from nas.run.folder import Run
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from evaluators.data import Dataset
    from evaluators.quantise import Quantisation


def quantisation_of(run: Run, network: dict[str, Any], dataset: "Dataset") -> "Quantisation | None":
    """How a network of a run's result is quantised; None if the run is in float32."""
    return int8_quantisation(run, network, dataset) if run.resolved.precision == "int8" else None


def int8_quantisation(run: Run, network: dict[str, Any], dataset: "Dataset") -> "Quantisation":
    """How a network of a run's result is quantised for the runtime of the run's device, or its int8 module."""
    import torch

    from evaluators.latency.device.profile_files import load_profile
    from evaluators.latency.runtime import quantiser_of
    from evaluators.quantise import Quantisation
    from evaluators.training.batches import Batches
    from evaluators.training.deployed import calibration_images

    genotype = Genotype.parse(network["genotype"])
    assert genotype.input is not None, "a run's networks name their input"
    train = Batches.of(dataset.train, run.preprocessing(genotype.input), torch.device("cpu"))
    runtime = load_profile(str(run.device_profile), anywhere=True).device.runtime
    return Quantisation(calibration_images(train), quantiser_of(runtime))


def in_int8(run: Run, network: dict[str, Any], dataset: "Dataset", quantisation: "Quantisation") -> dict[str, Any]:
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
    scores = asdict(deployed(trained, task, test, processors(), quantisation=quantisation).scores)
    unknown = dict.fromkeys(("predicted_ms", "bound_ms", "p50_ms", "p90_ms", "n"))
    tested = {"test_by_seed": [scores[run.config.metric]], "float_test_by_seed": network["test_by_seed"][:1]}
    return {**network, **unknown, **tested, "validation_by_seed": []}
