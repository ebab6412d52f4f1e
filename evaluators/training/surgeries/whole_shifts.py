"""whole_shifts: learnt shifts are pulled to zero, then rounded to whole pixels and frozen, as in sparse shift and FE-Net."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from evaluators.training import surgery
from evaluators.training.augment import Parts
from evaluators.training.batches import Batches
from evaluators.training.surgery import Pair
from search_spaces.genotype import BlockSpec
from search_spaces.network import Network, classifier
from search_spaces.ops.learnt_shift import LearntShift, freeze_offsets
from search_spaces.schema import FromZero, strict
from search_spaces.task import Task


@strict
@dataclass(frozen=True)
class Settings:
    """Until the progress `until`, the loss has `penalty` times the L1 norm of all offsets; then they are rounded and frozen."""

    penalty: FromZero
    until: Annotated[float, Field(gt=0, le=1)]


class Surgery(surgery.Surgery[Settings]):
    """Learns integer offsets of active shifts (arXiv:1806.07370) and sparse shifts (arXiv:1903.05285).

    A sparse shift moves whole pixels forward and learns by the gradient of bilinear interpolation; an active shift interpolates
    until its offsets are rounded, half away from zero. Whole offsets move data without computing, zero ones not even that: an
    `active_shift` at stride 1 becomes a `sparse_shift`.
    """

    def attach(self, network: Network) -> None:
        self._shifts = _shifts(network)
        if not self._shifts:
            raise surgery.none_found("whole_shifts", network, ["active shifts", "sparse shifts"])

    def before(self, network: Network, progress: float) -> None:
        if progress >= self._settings.until:
            self._settle(network)

    def penalty(self, logits: Tensor, parts: Parts, progress: float) -> Tensor:
        if progress >= self._settings.until or not self._settings.penalty:
            return logits.new_zeros(())
        return self._settings.penalty * torch.stack([shift.penalty() for shift in self._shifts.values()]).sum()

    def after(self, network: nn.Module) -> None:
        """On the averaged network: the offsets that are frozen are not averages."""
        for name, offsets in self.masks.items():
            _set(network.get_submodule(name), offsets)

    def closed(self, network: Network) -> Network:
        self._settle(network)
        assert network.genotype.input
        return surgery.rewritten(network, _moving, Task(network.genotype.input, len(classifier(network).weight)))

    def found(self, network: Network, test: Batches) -> dict[str, float]:
        """`shifted`: the share of the channels of learnt shifts that move at all."""
        moves = torch.cat([(shift.row_offsets != 0) | (shift.col_offsets != 0) for shift in _shifts(network).values()])
        return {"shifted": float(moves.float().mean())}

    def _settle(self, network: Network) -> None:
        """Rounds and freezes the offsets, unless that is done."""
        if self.masks:
            return
        for name, shift in self._shifts.items():
            offsets = torch.stack([shift.row_offsets.detach(), shift.col_offsets.detach()])
            self.masks[name] = (offsets.abs() + 0.5).floor().copysign(offsets)
        self.after(network)
        freeze_offsets(network)


def _moving(pairs: list[Pair]) -> list[Pair]:
    """The blocks with each active shift that keeps the size as a sparse shift, which has the same tensors."""
    sparse = BlockSpec.make("sparse_shift")
    return [(sparse if (spec.kind, spec.stride) == ("active_shift", 1) else spec, module) for spec, module in pairs]


def _shifts(network: nn.Module) -> dict[str, LearntShift]:
    return {name: module for name, module in network.named_modules() if isinstance(module, LearntShift)}


@torch.no_grad()
def _set(shift: nn.Module, offsets: Tensor) -> None:
    assert isinstance(shift, LearntShift)
    for parameter, values in zip((shift.row_offsets, shift.col_offsets), offsets, strict=True):
        parameter.copy_(values)
