"""Python API: search, train, build, measure and predict. Prints nothing; raises InputError for user errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.data.preprocess import Preprocessing
from nas.progress import Progress, Silent
from nas.run.config import SearchConfig
from nas.run.folder import Run as RunFolder
from nas.run.folder import open_run as open_folder
from nas.sessions.measure import MeasureConfig
from nas.training.config import TrainConfig
from search_spaces.anchor import anchor as anchor_named
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space as space_named
from search_spaces.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from evaluators.cost import Cost
    from evaluators.latency.device.profile import Profile
    from search_spaces.network import Network


@dataclass(frozen=True)
class Latency:
    """Latency of one image in milliseconds.

    p50 and p90: measured on the device, None if not measured. Prediction and its upper bound at the run's confidence: None if
    the device profile does not cover the network.
    """

    p50_ms: float | None
    p90_ms: float | None
    predicted_ms: float | None
    bound_ms: float | None


@dataclass(frozen=True)
class TrainedNetwork:
    """A retrained network of a run; `anchor` is set for hand-designed ones. Accuracies are by the run's metric, 0..1."""

    id: str
    anchor: str | None
    genotype: Genotype
    latency: Latency
    validation_accuracy: float | None
    test_accuracy: float | None
    test_error: float | None
    inherited: float | None
    params: int
    macs: int
    weights: Path
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def load(self) -> "Network":
        """Load the network with its trained weights, in eval mode; its input is [N, C, H, W], the output of `preprocessing`.

        Raises InputError if the weights are missing.
        """
        from evaluators.weights import load_network

        return load_network(self.genotype, self.genotype.task(len(self.classes)), self.weights)

    def classify(self, image: Path | str) -> dict[str, float]:
        """Class probabilities for an image file, highest first. Raises InputError if it cannot be read."""
        import torch

        pixels = torch.from_numpy(self.preprocessing(Path(image)))
        with torch.inference_mode():
            values = self.load()(pixels).softmax(1)[0].tolist()
        return dict(sorted(zip(self.classes, values, strict=True), key=lambda found: -found[1]))


@dataclass(frozen=True)
class Run:
    """A run and its results, as of when it was opened; call `open_run` again to refresh."""

    folder: RunFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def config(self) -> SearchConfig:
        return self.folder.config

    @cached_property
    def result(self) -> dict[str, Any]:
        """Contents of result.json: latencies in milliseconds, accuracies 0..1."""
        from nas.report.result import result

        return result(self.folder)

    @property
    def finished(self) -> bool:
        return bool(self.result["finished"])

    @property
    def best(self) -> TrainedNetwork | None:
        """The network within the budget with the highest validation accuracy; None if there is none."""
        return self._network(self.result["best"]) if self.result["best"] else None

    @property
    def finalists(self) -> list[TrainedNetwork]:
        """Retrained candidates, most accurate first."""
        return [self._network(entry) for entry in self.result["finalists"]]

    @property
    def anchors(self) -> list[TrainedNetwork]:
        """Retrained hand-designed networks: those within the budget first, then by accuracy."""
        return [self._network(entry) for entry in self.result["anchors"]]

    def to_frame(self) -> "pd.DataFrame":
        """All networks trained in the search, one per row, with the columns of front.csv."""
        import pandas as pd

        from nas.report.result import points

        return pd.DataFrame(points(self.folder))

    def export(self, folder: Path | None = None, network: str | None = None, formats: Sequence[str] = ()) -> list[Path]:
        """Export the best network, or one by id or anchor: genotype.txt, weights.safetensors, model.onnx and model.json.

        `formats` (see `nas list formats`) replace ONNX. Raises InputError like `nas export`.
        """
        from nas.export.files import export
        from nas.sessions.export import chosen

        return export(self.folder, chosen(self.result, network), folder or self.path / "export", formats)

    def _network(self, entry: dict[str, Any]) -> TrainedNetwork:
        latency = Latency(*(entry[key] for key in ("p50_ms", "p90_ms", "predicted_ms", "bound_ms")))
        same = ("id", "anchor", "validation_accuracy", "test_accuracy", "test_error", "inherited", "params", "macs")
        genotype = Genotype.parse(entry["genotype"])
        assert genotype.input is not None, "a run's networks name their input"
        return TrainedNetwork(
            **{key: entry[key] for key in same},
            genotype=genotype,
            latency=latency,
            weights=self.folder.weights(entry["id"]),
            classes=tuple(self.folder.resolved.classes),
            preprocessing=self.folder.preprocessing(genotype.input),
        )


def search(config: SearchConfig, run: Path | str | None = None, progress: Progress | None = None) -> Run:
    """Run a search in folder `run`, by default runs/SPACE-BUDGET-TIME, reporting to `progress`.

    Raises InputError for anything the user can fix. After a KeyboardInterrupt, `resume` continues the run.
    """
    from nas.sessions.search import start

    return Run(start(config, Path(run) if run else None, progress or Silent()))


def resume(run: Path | str, workers: int | None = None, progress: Progress | None = None) -> Run:
    """Resume an interrupted search; finished work is not repeated. Raises InputError."""
    from nas.sessions.search import resume as resume_search

    return Run(resume_search(Path(run), workers, progress or Silent()))


def open_run(run: Path | str) -> Run:
    """Open a run, finished or not; raises InputError if there is none or it is damaged."""
    return Run(open_folder(Path(run)))


def train(config: TrainConfig, folder: Path | str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Train one network fully, by default in folder runs/train-NAME-TIME; returns the contents of its result.json.

    Raises InputError.
    """
    import json

    from nas.sessions.train import start
    from nas.training.plan import RESULT

    done = start(config, Path(folder) if folder else None, progress or Silent())
    found: dict[str, Any] = json.loads((done / RESULT).read_text())
    return found | {"folder": str(done)}


def load_device(name: str = "local") -> "Profile":
    """Load a device profile by name or file; raises InputError if there is none."""
    from evaluators.latency.device.profile_files import load_profile

    return load_profile(name, anywhere=True)


def measure(config: MeasureConfig, progress: Progress | None = None) -> "Profile":
    """Measure this machine for a space (takes minutes), save its profile and return it. Raises InputError."""
    from nas.sessions.device import measure as measured

    return load_device(str(measured(config, progress or Silent())))


def load_space(name: str) -> SearchSpace:
    """Load a search space by name or from a .yaml file; raises InputError if it is invalid."""
    return space_named(name)


def anchor(name: str) -> Genotype:
    """Genotype of a hand-designed network at its published input; raises InputError, with a suggestion, if there is none."""
    known = anchor_named(name)
    return known.genotype.at(known.task.input)


def build(genotype: Genotype | str, classes: int = 1000) -> "Network":
    """Build the torch network of a genotype or its text, with random weights; input [N, C, H, W], output [N, classes]."""
    from search_spaces.network import build as build_network

    found, task = _with_task(genotype, classes)
    return build_network(found, task)


def cost(genotype: Genotype | str, classes: int = 1000) -> "Cost":
    """Trainable parameters, MACs of one image, and peak activation memory."""
    from evaluators.cost import cost as cost_of

    return cost_of(*_with_task(genotype, classes))


def predict(genotype: Genotype | str, device: str = "local", space: str = "mobile", classes: int = 1000) -> Latency:
    """Predict latency under typical load, and its upper bound (95 %), on a device that was measured for a space.

    Raises InputError if the device was not measured for the space, or its profile does not cover the network.
    """
    from evaluators.latency.device.local_device import measure_command
    from nas.budget.device import find_predictor
    from nas.report.latency_breakdown import predicted
    from search_spaces.errors import InputError

    predictor = find_predictor(device, space_named(space))
    if predictor is None:
        raise InputError(f"this machine was not measured for the space {space}; run {measure_command(device, space)}")
    found = predicted(predictor, *_with_task(genotype, classes))
    return Latency(None, None, found.ms, found.bound_ms)


def _with_task(genotype: Genotype | str, classes: int) -> tuple[Genotype, Task]:
    found = Genotype.parse(genotype) if isinstance(genotype, str) else genotype
    return found, found.task(classes)
