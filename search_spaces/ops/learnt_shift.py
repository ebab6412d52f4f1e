"""Base of shifts with learnt offsets, and the plan for moving channels."""

from abc import ABC, abstractmethod
from itertools import groupby
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.ops.shift import Run


class Plan(NamedTuple):
    """How a learnt shift moves channels: sort them by `order` (empty if sorted), then shift them run by run.

    `moves` are runs of equal rounded offsets; `cells` are runs of equal floored offsets, in the same order.
    """

    order: tuple[int, ...]
    moves: tuple[Run, ...]
    cells: tuple[Run, ...]

    def sort(self, x: Tensor) -> Tensor:
        return x.index_select(1, torch.tensor(self.order, device=x.device)) if self.order else x

    def unsort(self, x: Tensor) -> Tensor:
        return x.index_select(1, torch.tensor(np.argsort(self.order), device=x.device)) if self.order else x


def make_plan(rows: Tensor, cols: Tensor) -> Plan:
    """The plan for offsets [C]."""
    offsets = torch.stack([rows, cols]).cpu()
    keys = torch.cat([(offsets.abs() + 0.5).floor().copysign(offsets), offsets.floor()]).int().numpy()
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order].T.tolist()
    is_sorted = bool((np.diff(order) > 0).all())
    return Plan(
        () if is_sorted else tuple(order.tolist()),
        tuple(Run(rows, cols, len(list(run))) for (rows, cols), run in groupby(k[:2] for k in ordered)),
        tuple(Run(rows, cols, len(list(run))) for (*_, rows, cols), run in groupby(ordered)),
    )


class LearntShift(nn.Module, ABC):
    """A shift with learnt offsets per channel, down (`row_offsets`) and right (`col_offsets`), [C] each, in pixels.

    Exclude these parameters from weight decay. They determine the plan.
    """

    def __init__(self, rows: Tensor, cols: Tensor, plan: Plan) -> None:
        super().__init__()
        self.row_offsets, self.col_offsets = nn.Parameter(rows), nn.Parameter(cols)
        self._plan = plan
        self._planned_for: tuple[list[float], list[float]] = ([], [])

    def penalty(self) -> Tensor:
        """The L1 norm of the offsets, a scalar; for sparse shifts, add lambda times its sum over layers to the loss."""
        return self.row_offsets.abs().sum() + self.col_offsets.abs().sum()

    def plan(self) -> Plan:
        """The plan for the current offsets; under torch.export and on meta tensors, which have no values, the last one."""
        if not (self.row_offsets.is_meta or torch.compiler.is_exporting()):
            offsets = self.row_offsets.detach(), self.col_offsets.detach()
            if (values := (offsets[0].tolist(), offsets[1].tolist())) != self._planned_for:
                self._plan, self._planned_for = self._planned(*offsets), values
        return self._plan

    @abstractmethod
    def _planned(self, rows: Tensor, cols: Tensor) -> Plan:
        """The plan for these offsets."""

    def train(self, mode: bool = True) -> Self:
        self.plan()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.plan()


def freeze_offsets(network: nn.Module, frozen: bool = True) -> None:
    """Freezes (or unfreezes) the offsets of learnt shifts; frozen offsets have no L1 gradient either.

    FE-Net's authors train offsets for the first half of the epochs (hikvision-research/SparseShiftLayer).
    """
    for module in network.modules():
        if isinstance(module, LearntShift):
            module.requires_grad_(not frozen)
