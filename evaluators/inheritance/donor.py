"""Donor: a trained network whose weights others inherit, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from evaluators.data.preprocess import Interpolation
from evaluators.weights import GENOTYPE, WEIGHTS
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, PaddingRule, read_genotype
from search_spaces.network import Network, build
from search_spaces.resources import read_text
from search_spaces.schema import AboveZero, Count, Means, Stds, checked_json, strict
from search_spaces.task import Task
from search_spaces.weights import read_safetensors

ABOUT = "donor.json"
_FACTS = ("name", "mean", "std", "interpolation", "norm_eps", "source", "folded")


@strict
@dataclass(frozen=True)
class _About:
    """The content of donor.json."""

    name: str
    mean: Means
    std: Stds
    interpolation: Interpolation
    norm_eps: AboveZero
    source: str
    folded: bool
    classes: Count


@dataclass(frozen=True, eq=False)
class Donor:
    """A trained network: its genotype, its tensors on the CPU, and its preprocessing.

    `tensors` is the state dict of build(genotype, task), for batch norms with epsilon `norm_eps`; `mean` and `std` are per
    channel of pixels in 0..1; `interpolation` is bilinear or bicubic; `source` is the origin of the weights. If `folded`,
    batch-norm statistics are folded into the weights, and variances before those norms are far from 1.
    """

    name: str
    genotype: Genotype
    task: Task
    tensors: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation
    norm_eps: float
    source: str
    folded: bool = False

    @property
    def padding(self) -> PaddingRule:
        """The padding of its strided blocks: "same", as in TensorFlow, or "symmetric"."""
        knobs = (dict(spec.knobs).get("padding") for spec in self.genotype.blocks)
        return "same" if "same" in knobs else "symmetric"

    def save(self, folder: Path) -> None:
        """Writes the donor to a new folder, for `load_donor`; raises OSError."""
        folder.mkdir()
        (folder / GENOTYPE).write_text(self.genotype.at(self.task.input).text, encoding="utf-8")
        (folder / WEIGHTS).write_bytes(save({name: tensor.contiguous() for name, tensor in self.tensors.items()}))
        facts = {name: getattr(self, name) for name in _FACTS} | {"classes": self.task.classes}
        (folder / ABOUT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def network(self) -> Network:
        """The trained network in eval mode."""
        network = build(self.genotype, self.task)
        network.load_state_dict(dict(self.tensors))
        set_norm_eps(network, self.norm_eps)
        return network.eval()


def load_donor(folder: Path) -> Donor:
    """The donor saved in a folder; raises InputError when it is damaged."""
    try:
        about = checked_json(_About, read_text(folder / ABOUT, "file"), ABOUT)
        genotype, tensors = read_genotype(folder / GENOTYPE), read_safetensors(folder / WEIGHTS)
        facts = {name: getattr(about, name) for name in _FACTS} | {"mean": tuple(about.mean), "std": tuple(about.std)}
        donor = Donor(genotype=genotype, task=genotype.task(about.classes), tensors=tensors, **facts)
        donor.network()
    except (InputError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: the saved donor is damaged: {reason}") from None
    return donor


def set_norm_eps(network: nn.Module, eps: float) -> None:
    """Sets the epsilon of every batch norm."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
