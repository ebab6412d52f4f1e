"""Initial weights of a training: existing ones, a donor's, or random."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from evaluators.data.preprocess import Interpolation
from evaluators.weights import GENOTYPE
from nas.run.config import DONOR
from nas.run.find import find_run
from nas.run.teacher import TEACHER, Teacher
from nas.run.versions import machine, versions
from nas.training.config import TrainConfig
from nas.training.plan import BEFORE, BEGIN, FORMAT, PLAN, Plan, PlanFile
from search_spaces.errors import InputError
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from evaluators.inheritance.donor import Donor


@dataclass(frozen=True)
class Begin:
    """Initial weights: a file, with its classes and normalisation, or a donor, or neither (random)."""

    words: str
    weights: Path | None = None
    classes: tuple[str, ...] = ()
    mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    interpolation: Interpolation = "bilinear"
    donor: "Donor | None" = None

    @property
    def random(self) -> bool:
        return self.weights is None and self.donor is None


def find_begin(config: TrainConfig, genotype: Genotype) -> Begin:
    """The network's weights from its run, unless the options say otherwise; else the donor's."""
    from nas.run.donor import donor_for

    run, _ = find_run(config.network)
    if run and not (config.weights or config.from_scratch) and (left := run.weights(genotype.id)).is_file():
        known = run.resolved
        mean_std = tuple(known.mean), tuple(known.std)
        return Begin(f"the weights of {run.name}", left, tuple(known.classes), mean_std, known.interpolation)
    donor = donor_for(config.weights, config.from_scratch, config.download)
    if donor is None:
        return Begin("random")
    return Begin(f"inherited from {donor.name}", None, (), (donor.mean, donor.std), donor.interpolation, donor)


def check_classes(begin: Begin, classes: tuple[str, ...]) -> None:
    if begin.weights and begin.classes != classes:
        raise InputError(
            f"{begin.words} are for {len(begin.classes)} classes ({', '.join(begin.classes[:5])} ...), but the data set has "
            f"{len(classes)} ({', '.join(classes[:5])} ...); use --weights FOLDER to inherit all but the classifier"
        )


def create(folder: Path, plan: Plan, genotype: Genotype, teacher: Teacher | None, begin: Begin) -> None:
    """Create the folder atomically, with everything needed to resume."""
    facts = asdict(PlanFile(FORMAT, machine(), versions(), plan))
    with made_whole(folder, "folder") as part:
        (part / GENOTYPE).write_text(genotype.text, encoding="utf-8")
        if plan.recipe.surgery:
            (part / BEFORE).write_text(genotype.text, encoding="utf-8")
        (part / PLAN).write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
        if teacher:
            teacher.place(part / TEACHER)
        if begin.donor:
            begin.donor.save(part / DONOR)
        if begin.weights:
            shutil.copyfile(begin.weights, part / BEGIN)
