"""Donor: a trained network that others inherit weights from, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.genotype import Genotype
from search_spaces.network import Network, build
from search_spaces.task import Task


@dataclass(frozen=True, eq=False)
class Donor:
    """A trained network: its genotype, its tensors on the CPU, and what its images have to look like.

    `tensors` is the state dict of build(genotype, task), for batch norms with epsilon `norm_eps`; `mean` and `std` are per
    channel of pixels in 0..1, `interpolation` is bilinear or bicubic, `source` says where the weights come from. Where
    `folded`, statistics of batch norms are merged into weights, and channels before those norms have wild variances.
    """

    name: str
    genotype: Genotype
    task: Task
    tensors: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    norm_eps: float
    source: str
    folded: bool = False

    def network(self) -> Network:
        """The trained network in eval mode."""
        network = build(self.genotype, self.task)
        network.load_state_dict(dict(self.tensors))
        set_norm_eps(network, self.norm_eps)
        return network.eval()


def set_norm_eps(network: nn.Module, eps: float) -> None:
    """Gives every batch norm the epsilon `eps`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
