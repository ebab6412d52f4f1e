"""imitate: fits the last pointwise convolution of each block to the donor's features, block by block, in closed form.

Changing a trained network's widths, depths and kernels destroys most of what its blocks computed. On a few images, the inputs
of a block's last convolution and the outputs of the corresponding donor block are known, so the weights between them follow by
ridge regression. Blocks are fitted in order, each on the outputs of the fitted blocks before it, so that errors do not
accumulate. The regression is that of channel pruning (He et al., arXiv:1707.06168); the targets are those of blockwise
distillation (DNA, arXiv:1911.13053).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from evaluators.inheritance.inherit import Goal
from evaluators.inheritance.statistics import batch_size
from search_spaces.network import Network, run_block

_PIXELS = 8192  # maximum number of output pixels per block in the regression
_HELD_OUT = 4  # one in four pixels is held out to choose the penalty
_PENALTIES = (0.01, 0.1, 1.0, 10.0)  # penalties on the squared change of the weights, relative to the inputs' variance
_DEAD = 1e-3  # channels with less than this share of the layer's largest standard deviation count as constant


@dataclass(frozen=True)
class Imitated:
    """The error of a block's output, squared error / variance on held-out images, before and after fitting."""

    before: float
    after: float


@torch.no_grad()
def imitate(network: Network, donor: Network, images: Tensor, goals: Mapping[int, Goal]) -> dict[int, Imitated]:
    """Fits the blocks of `network` that have a goal to the features of `donor`, in place; returns errors by block.

    `images` [N, C, H, W] are normalised. Batch-norm statistics are re-estimated on them, layer by layer. A block keeps its
    weights if its last layer is not a plain pointwise convolution, if that layer's output is modified further, if its feature
    map has another size than the goal's, or if the regression does not reduce the error. Leaves both networks in eval mode.
    """
    network.eval()
    donor.eval()
    wanted = _Features(donor, images, {goal.block for goal in goals.values()})
    parts = _split(images)
    found: dict[int, Imitated] = {}
    maps = parts
    for index, block in enumerate(network.blocks[:-1]):
        last = _Last.of(block) if index in goals else None
        places = last.places(block, maps[0][:1], parts[0][:1]) if last else None
        reads = _observed(block, maps, parts, None if places is None else last)
        if last and places is not None and (features := wanted.of(goals[index], last, reads)):
            goal = _goal(features, goals[index], places, maps if getattr(block, "adds", False) else None)
            found[index] = last.fit(reads, goal)
        maps = [run_block(block, x, image) for x, image in zip(maps, parts, strict=True)]
    return found


def _split(images: Tensor) -> list[Tensor]:
    return list(images.contiguous(memory_format=torch.channels_last).tensor_split(-(-len(images) // batch_size(images))))


def _observed(block: nn.Module, maps: list[Tensor], images: list[Tensor], last: "_Last | None") -> list[Tensor]:
    """Re-estimates the block's batch-norm statistics; returns the last convolution's inputs, batch by batch."""
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    reads: list[Tensor] = []
    hook = last.convolution.register_forward_pre_hook(lambda _, inputs: reads.append(inputs[0])) if last else None
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for x, image in zip(maps, images, strict=True):
        run_block(block, x, image)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    if hook:
        hook.remove()
    return reads


@dataclass(frozen=True, eq=False)
class _Last:
    """A block's last convolution, which is pointwise, with the batch norm and activation after it, if any."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None
    act: nn.Module | None

    @classmethod
    def of(cls, block: nn.Module) -> "_Last | None":
        """The last layers of a block; None if it does not end in a pointwise convolution."""
        rows = [list(m) for m in block.modules() if isinstance(m, nn.Sequential)]
        convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
        if not convolutions or convolutions[-1].kernel_size != (1, 1) or convolutions[-1].groups > 1:
            return None
        last = convolutions[-1]
        behind = next((row[row.index(last) + 1 :] for row in rows if last in row), None)
        if behind is None:
            return None
        norm, act = (*behind, None, None)[:2]
        return cls(last, norm, act) if norm is None or isinstance(norm, nn.BatchNorm2d) else None

    def places(self, block: nn.Module, x: Tensor, image: Tensor) -> Tensor | None:
        """For each output channel of this layer, its index in the block's output (identity included, if the block adds one).

        In eval mode; None if some of the layer's output is modified or dropped.
        """
        reads: list[Tensor] = []
        hook = self.convolution.register_forward_pre_hook(lambda _, inputs: reads.append(inputs[0]))
        found = run_block(block, x, image)
        hook.remove()
        if not reads:
            return None
        given = self.convolution(reads[0])
        for layer in (self.norm, self.act):
            given = given if layer is None else layer(given)
        if getattr(block, "adds", False):
            given = given + x
        if given.shape[2:] != found.shape[2:]:
            return None
        rows, all_rows = (_pixels(maps).T for maps in (given, found))
        nearest = torch.cdist(rows, all_rows).argmin(1)
        same = torch.allclose(all_rows[nearest], rows, rtol=1e-3, atol=1e-4 * float(all_rows.abs().max()))
        return nearest if same and len(nearest.unique()) == len(nearest) else None

    @property
    def matrix(self) -> Tensor:
        """Weights [out, in] with batch norm folded in."""
        return self.convolution.weight.flatten(1) * self._factor[:, None]

    @property
    def _factor(self) -> Tensor:
        if self.norm is None:
            return torch.ones(self.convolution.out_channels)
        return self.norm.weight / (cast(Tensor, self.norm.running_var) + self.norm.eps).sqrt()

    def rows(self, reads: Iterable[Tensor]) -> list[Tensor]:
        """The convolution's input for each output pixel, [pixels, in] per entry of `reads`."""
        step = self.convolution.stride[0]
        return [_pixels(x[:, :, ::step, ::step]) for x in reads]

    def fit(self, reads: list[Tensor], goals: list[Tensor]) -> Imitated:
        """Ridge regression to goals [pixels, out], shrunk towards the current weights; penalty chosen on held-out images."""
        (seen, wanted), (others, others_wanted) = _taken(self.rows(reads), goals)
        present = self.matrix
        middle, level = seen.mean(0), wanted.mean(0)
        gram = (seen - middle).T @ (seen - middle)
        rest = (seen - middle).T @ (wanted - level - (seen - middle) @ present.T)
        unit = torch.eye(len(gram)) * gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
        halves = (torch.linalg.cholesky(gram + share * unit) for share in _PENALTIES)
        fitted = [present + torch.cholesky_solve(rest, half).T for half in halves]
        errors = [_error((others - middle) @ w.T + level, others_wanted) for w in (present, *fitted)]
        best = int(torch.tensor(errors).argmin())
        if best:
            self._take(fitted[best - 1], level - fitted[best - 1] @ middle, seen)
        return Imitated(errors[0], errors[best])

    def _take(self, matrix: Tensor, shift: Tensor, seen: Tensor) -> None:
        """Sets the layer to `matrix` [out, in] and `shift` [out]; with batch norm, convolutions get unit variance."""
        if self.norm is None:
            self.convolution.weight.copy_(matrix.view_as(self.convolution.weight))
            return
        given = seen @ matrix.T
        deviation, mean = given.std(0), given.mean(0)
        rounding = torch.finfo(deviation.dtype).eps * float(mean.abs().max())
        deviation = deviation.clamp_min((_DEAD * float(deviation.max()) + rounding) or 1.0)
        self.convolution.weight.copy_((matrix / deviation[:, None]).view_as(self.convolution.weight))
        cast(Tensor, self.norm.running_mean).copy_(mean / deviation)
        cast(Tensor, self.norm.running_var).copy_(given.var(0) / deviation.square())
        self.norm.weight.copy_(deviation * (cast(Tensor, self.norm.running_var) + self.norm.eps).sqrt())
        self.norm.bias.copy_(mean + shift)


class _Features:
    """Outputs of a donor's blocks on images, batch by batch, and inputs of their final activations."""

    def __init__(self, donor: Network, images: Tensor, blocks: set[int]) -> None:
        self._outputs: dict[int, list[Tensor]] = {index: [] for index in blocks}
        self._before: dict[int, list[Tensor]] = {index: [] for index in blocks}
        for batch in _split(images):
            x = batch
            for index, block in enumerate(donor.blocks[: max(blocks, default=-1) + 1]):
                last = _Last.of(block) if index in blocks else None
                kept = self._before.get(index, [])
                norm = last.norm if last and last.act is not None else None
                hook = norm.register_forward_hook(lambda _, __, y, kept=kept: kept.append(y.clone())) if norm else None  # type: ignore[misc]
                x = run_block(block, x, batch)
                if hook:
                    hook.remove()
                if index in blocks:
                    self._outputs[index].append(x.clone())

    def of(self, goal: Goal, last: _Last, reads: list[Tensor]) -> list[Tensor] | None:
        """Target feature maps, batch by batch, for a layer with inputs `reads`; None if their sizes differ."""
        features = (self._before[goal.block] if last.act is not None else []) or self._outputs[goal.block]
        step = last.convolution.stride[0]
        if list(features[0].shape[2:]) != [-(-side // step) for side in reads[0].shape[2:]]:
            return None
        return features


def _goal(features: list[Tensor], goal: Goal, places: Tensor, added: list[Tensor] | None) -> list[Tensor]:
    """Targets [pixels, out] of a layer, batch by batch, at `places` of its block's output, minus the identity `added`."""
    wanted = [y.index_select(1, goal.channels.source[places]) for y in features]
    if added is not None:
        wanted = [y - x[:, places] for y, x in zip(wanted, added, strict=True)]
    return [_pixels(y) for y in wanted]


def _pixels(x: Tensor) -> Tensor:
    """Flattens a feature map [N, C, H, W] to [N H W, C]."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _taken(rows: list[Tensor], goals: list[Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and held-out pixels with their goals, evenly subsampled; the end of each batch is held out."""
    step = max(1, sum(map(len, rows)) // _PIXELS)
    pairs = [(r[::step], g[::step]) for r, g in zip(rows, goals, strict=True)]
    cuts = [len(r) - len(r) // _HELD_OUT for r, _ in pairs]
    fit = [torch.cat([pair[side][:cut] for pair, cut in zip(pairs, cuts, strict=True)]) for side in (0, 1)]
    held = [torch.cat([pair[side][cut:] for pair, cut in zip(pairs, cuts, strict=True)]) for side in (0, 1)]
    return (fit[0], fit[1]), (held[0], held[1])


def _error(found: Tensor, wanted: Tensor) -> float:
    """Squared error / variance: 0 for a perfect fit, about 1 for predicting the mean."""
    return float((found - wanted).square().mean(0).sum() / wanted.var(0).sum().clamp_min(torch.finfo(wanted.dtype).tiny))
