"""The run folder: create it, open it, check it.

run.yaml         resolved settings: space, budget, data set and its fingerprint, recipes, seed, versions, machine
space.yaml       copy of the search space
device.json      copy of the device profile
journal.log      every proposal, training and measurement; the single source of truth
weights/         safetensors of retrained networks, by genotype id
supernet.safetensors  optional: the supernet that scores candidates
teacher/         optional: the teacher's genotype, and its weights once trained
tensorboard/     optional: TensorBoard event files, in a folder for each training
result.json front.csv pareto.png pareto.svg report.html export/  derived; can be regenerated at any time
"""

import shutil
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from evaluators.data.preprocess import Preprocessing, per_channel
from evaluators.weights import GENOTYPE
from nas.records import FORMAT
from nas.run.config import DONOR, JOURNAL, RUN, Resolved, SearchConfig, donor_anchor
from nas.run.former import of_former
from nas.run.teacher import TEACHER, Teacher
from nas.run.versions import machine, versions
from search_spaces import resources
from search_spaces.errors import InputError, quoted
from search_spaces.folder import made_whole
from search_spaces.schema import checked, strict
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space
from search_spaces.task import Input

if TYPE_CHECKING:
    from evaluators.inheritance.donor import Donor


@strict
@dataclass(frozen=True)
class _RunFile:
    """Contents of run.yaml."""

    format: int
    created: str
    machine: str
    versions: dict[str, str]
    config: SearchConfig
    resolved: Resolved


@dataclass(frozen=True)
class Run:
    """An open run folder; `path` as given by the user."""

    path: Path
    config: SearchConfig
    resolved: Resolved
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
        """Absolute, because workers have other working directories."""
        return self.path.resolve() / "weights" / f"{genotype_id}.safetensors"

    @property
    def supernet(self) -> Path:
        """File of the supernet's weights."""
        return self.path / "supernet.safetensors"

    @property
    def teacher(self) -> Path:
        """Absolute path of the teacher's folder; exists if the run distills."""
        return self.path.resolve() / TEACHER

    def space(self) -> SearchSpace:
        names = [*self.resolved.anchors, *donor_anchor(self.resolved.donor)]
        space = load_space(str(self.path / "space.yaml")).with_anchors(names)
        return replace(space, name=self.resolved.space, padding=self.resolved.padding)

    def preprocessing(self, input: Input) -> Preprocessing:
        """Preprocessing of images for a network with this input."""
        known = self.resolved
        mean, std = per_channel(known.mean, input[0]), per_channel(known.std, input[0])
        return Preprocessing(input, self.config.fit, known.interpolation, mean, std, depth=known.depth)

    @property
    def donor(self) -> Path:
        """Folder of the donor; exists if the run has one."""
        return self.path / DONOR


def create(
    path: Path,
    config: SearchConfig,
    resolved: Resolved,
    space_text: str,
    profile: Path,
    *,
    teacher: Teacher | None = None,
    donor: "Donor | None" = None,
) -> Run:
    """Create a run folder atomically; raises InputError if the path is taken or not writable."""
    from nas.run.journal import begin

    check_free(path)
    run = Run(path, config, resolved, datetime.now(UTC).isoformat(timespec="seconds"), versions(), machine())
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


def check_free(path: Path) -> None:
    """Raise InputError unless a run folder can be created there."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} already exists; resume it with `nas resume {path}`, or choose another folder with `--run`")


def open_run(path: Path) -> Run:
    """Open a run folder; raises InputError if it is missing, damaged, or of another format version."""
    file = path / RUN
    if not file.is_file():
        raise InputError(f"{path} is not a run folder: it has no run.yaml{_runs_beside(path)}")
    kept = resources.parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
    data = of_former(kept, *({field.name for field in fields(part)} for part in (SearchConfig, Resolved)))
    if data.get("format") != FORMAT:
        hint = "resume it with the version of compact-nas that created it, given in run.yaml"
        raise InputError(f"{file}: format {quoted(data.get('format'))}, but this version reads format {FORMAT}; {hint}")
    found = checked(_RunFile, data, f"{file}: damaged")
    config, resolved = found.config, found.resolved
    if not config.budget_text:
        raise InputError(f"{file}: damaged: it has no budget of latency, size or memory")
    run = Run(path, config, resolved, found.created, found.versions, found.machine)
    own = [*([f"{TEACHER}/{GENOTYPE}"] if config.distill else []), *([f"{DONOR}/{GENOTYPE}"] if resolved.donor else [])]
    for needed in ("space.yaml", "device.json", JOURNAL, *own):
        if not (path / needed).is_file():
            raise InputError(f"{path} is damaged: {needed} is missing")
    return run


def _dump(run: Run) -> str:
    data = asdict(_RunFile(FORMAT, run.created, run.machine, run.versions, run.config, run.resolved))
    return "# Settings of a run; written once, read by `nas resume`.\n" + yaml.safe_dump(data, sort_keys=False)


def _runs_beside(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("runs")
    runs = sorted(p.parent.name for p in folder.glob("*/run.yaml"))
    return f"; runs in {folder}: {', '.join(runs[-5:])}" if runs else ""
