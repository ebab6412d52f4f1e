"""The run folder: what is written there, read from it, and checked when it is opened again.

run.yaml         everything resolved: space, budget, data and its fingerprint, recipe, seeds, versions, machine
space.yaml       the search space as it was
device.json      the device profile as it was
journal.log      every proposal, training and measurement; the only truth
weights/         safetensors of retrained networks, by genotype id
supernet.safetensors  where there is one: the supernet that scores candidates, as trained so far
teacher/         where there is one: its genotype, and its weights as given or as trained first
result.json front.csv pareto.png pareto.svg export/      derived, made again at any time
"""

import fcntl
import os
import platform
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import Field

from evaluators.data.preprocess import Fit, Interpolation, Preprocessing, per_channel
from evaluators.training.recipe import Metric, Recipe
from evaluators.training.weights import GENOTYPE
from nas.teacher import TEACHER, Teacher
from search_spaces import resources
from search_spaces.anchor import anchor_names
from search_spaces.errors import InputError, quoted
from search_spaces.folder import made_whole
from search_spaces.genotype import PaddingRule
from search_spaces.schema import AboveZero, Count, Means, Seed, Stds, checked, strict
from search_spaces.space import SearchSpace, load_space
from search_spaces.task import Input

if TYPE_CHECKING:
    from evaluators.inheritance.donor import Donor

FORMAT = 6
Cost = Literal["latency", "params", "macs"]
Evaluator = Literal["training", "supernet"]
Percentile = Literal[50, 90]
RUN, JOURNAL, DONOR, LOCK = "run.yaml", "journal.log", "donor", ".lock"


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


@strict
@dataclass(frozen=True)
class _RunFile:
    """run.yaml as it is read and written."""

    format: int
    created: str
    machine: str
    versions: dict[str, str]
    config: Config


@dataclass(frozen=True)
class Run:
    """An opened run folder; `path` as the person wrote it."""

    path: Path
    config: Config
    created: str
    versions: dict[str, str]
    machine: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    @property
    def device_profile(self) -> Path:
        return self.path / "device.json"

    def weights(self, genotype_id: str) -> Path:
        """An absolute path: workers run in folders of their own."""
        return self.path.resolve() / "weights" / f"{genotype_id}.safetensors"

    @property
    def supernet(self) -> Path:
        """The file that a supernet is kept in."""
        return self.path / "supernet.safetensors"

    @property
    def teacher(self) -> Path:
        """The folder of the network that teaches, an absolute path; there if the run distills."""
        return self.path.resolve() / TEACHER

    def space(self) -> SearchSpace:
        names = [*self.config.anchors, *donor_anchor(self.config.donor)]
        space = load_space(str(self.path / "space.yaml")).with_anchors(names)
        return replace(space, name=self.config.space, padding=self.config.padding)

    def preprocessing(self, input: Input) -> Preprocessing:
        """How images become the input of one of the run's networks."""
        config = self.config
        mean, std = per_channel(config.mean, input[0]), per_channel(config.std, input[0])
        return Preprocessing(input, config.fit, config.interpolation, mean, std, depth=config.depth)

    @property
    def donor(self) -> Path:
        """The folder of the donor; there if the run has one."""
        return self.path / DONOR


def donor_anchor(donor: str | None) -> list[str]:
    """The hand-designed network that a donor is, which then stands in the run; none for a network of the user's."""
    return [donor] if donor in anchor_names() else []


def create(
    path: Path,
    config: Config,
    space_text: str,
    profile: Path,
    teacher: Teacher | None = None,
    donor: "Donor | None" = None,
) -> Run:
    """A new run folder; raises InputError when the path is taken or cannot be written. Nothing half-made is left behind."""
    from nas.study import begin

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already; `nas resume {path}` goes on with it, `--run` names another folder")
    run = Run(path, config, datetime.now(UTC).isoformat(timespec="seconds"), versions(), machine())
    with made_whole(path, "run folder") as part:
        (part / "weights").mkdir()
        (part / "space.yaml").write_text(space_text, encoding="utf-8")
        shutil.copyfile(profile, part / "device.json")
        if teacher:
            teacher.place(part / TEACHER)
        if donor:
            donor.save(part / DONOR)
        (part / RUN).write_text(_dump(run), encoding="utf-8")
        begin(part / JOURNAL, config.cost)
    return run


def open_run(path: Path) -> Run:
    """The run in a folder; raises InputError when there is none, it is damaged, or another version made it."""
    file = path / RUN
    if not file.is_file():
        raise InputError(f"{path} is not a run folder: it has no run.yaml{_runs_beside(path)}")
    data = resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
    if data.get("format") != FORMAT:
        raise InputError(f"{file}: format {quoted(data.get('format'))}, but this version reads format {FORMAT}")
    found = checked(_RunFile, data, f"{file}: damaged")
    config = found.config
    run = Run(path, config, found.created, found.versions, found.machine)
    own = [*([f"{TEACHER}/{GENOTYPE}"] if config.distill else []), *([f"{DONOR}/{GENOTYPE}"] if config.donor else [])]
    for needed in ("space.yaml", "device.json", JOURNAL, *own):
        if not (path / needed).is_file():
            raise InputError(f"{path} is damaged: {needed} is missing")
    return run


class Lock:
    """Keeps two processes from writing one folder; gone with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise InputError(f"cannot write in {path}: {error.strerror}; `nas status {path}` reads it all the same") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"another process is working on {path}; `nas status {path}` shows it") from None

    def release(self) -> None:
        os.close(self._file)


def is_running(path: Path) -> bool:
    """Whether a process holds the folder's lock; nothing is written to find that out."""
    try:
        file = os.open(path / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for package in (
        "compact-nas",
        "torch",
        "torchvision",
        "ray",
        "optuna",
        "onnx",
        "onnxruntime",
        "numpy",
        "scikit-learn",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def machine() -> str:
    """The machine in one line: processor, cores, system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _dump(run: Run) -> str:
    data = asdict(_RunFile(FORMAT, run.created, run.machine, run.versions, run.config))
    return "# A run's settings; written once, read by `nas resume`.\n" + yaml.safe_dump(data, sort_keys=False)


def _runs_beside(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("runs")
    runs = sorted(p.parent.name for p in folder.glob("*/run.yaml"))
    return f"; runs in {folder}: {', '.join(runs[-5:])}" if runs else ""
