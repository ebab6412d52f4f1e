"""imitate: the last pointwise convolution of each block is fitted to the donor's features, in closed form, block after block.

Cutting a trained network to other widths, depths and kernels leaves little of what its blocks computed. What a block's last
convolution reads is known on some images, and so is what the donor's block in its place gives there: the weights between the
two are a ridge regression. Blocks are fitted in order, each to what the fitted ones before it pass on, so that errors do not
add up. The regression is that of channel pruning (He et al., arXiv:1707.06168), the goals are those of blockwise distillation
(DNA, arXiv:1911.13053).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from evaluators.inheritance.inherit import Goal
from evaluators.inheritance.statistics import batch_size
from search_spaces.network import Network, run_block

_PIXELS = 8192  # of a block's output that the regression sees, at most
_HELD_OUT = 4  # every fourth image chooses the penalty
_PENALTIES = (0.01, 0.1, 1.0, 10.0)  # on the squared change of the weights, as a share of the inputs' mean square
_DEAD = 1e-3  # share of a layer's largest standard deviation below which a channel counts as constant


@dataclass(frozen=True)
class Imitated:
    """How far a block's output is from its goal's: squared error over variance, on held-out images, before and after."""

    before: float
    after: float


@torch.no_grad()
def imitate(network: Network, donor: Network, images: Tensor, goals: Mapping[int, Goal]) -> dict[int, Imitated]:
    """Fits the blocks of `network` that have a goal to the features of `donor`, in place; what that came to, by block.

    `images` [N, C, H, W] are normalised. Batch-norm statistics become those of the images, layer after layer. Blocks whose last
    layer is no plain pointwise convolution, or is not passed on as it is, or whose map is of another size than the goal's, keep
    their weights, as do those that the regression does not bring nearer to the goal. Both networks are left in eval mode.
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
    """Gives the block's batch norms the statistics of what they see; what the last convolution reads, batch by batch."""
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
    """A block's last convolution, which is pointwise, the batch norm behind it and the activation behind that, if any."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None
    act: nn.Module | None

    @classmethod
    def of(cls, block: nn.Module) -> "_Last | None":
        """None where the block does not end so."""
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
        """The channels of the block's output that this layer gives, with the block's identity if it adds one, in their order.

        In eval mode; None where not all that the layer gives is passed on as it is.
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
        """[out, in], with the batch norm's factor."""
        return self.convolution.weight.flatten(1) * self._factor[:, None]

    @property
    def _factor(self) -> Tensor:
        if self.norm is None:
            return torch.ones(self.convolution.out_channels)
        return self.norm.weight / (cast(Tensor, self.norm.running_var) + self.norm.eps).sqrt()

    def rows(self, reads: Iterable[Tensor]) -> list[Tensor]:
        """What the convolution reads for each pixel of its output, [pixels, in] an entry of `reads`."""
        step = self.convolution.stride[0]
        return [_pixels(x[:, :, ::step, ::step]) for x in reads]

    def fit(self, reads: list[Tensor], goals: list[Tensor]) -> Imitated:
        """Ridge regression from the present weights to goals [pixels, out], with the penalty that held-out images ask for."""
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
        """The layer becomes `matrix` [out, in] and `shift` [out]: convolutions of unit variance where a batch norm follows."""
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
    """Outputs of a donor's blocks on images, batch by batch; of layers with an activation also what it is given."""

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
        """The maps, batch by batch, that a layer which reads `reads` is to give; None where they are of another size."""
        features = (self._before[goal.block] if last.act is not None else []) or self._outputs[goal.block]
        step = last.convolution.stride[0]
        if list(features[0].shape[2:]) != [-(-side // step) for side in reads[0].shape[2:]]:
            return None
        return features


def _goal(features: list[Tensor], goal: Goal, places: Tensor, added: list[Tensor] | None) -> list[Tensor]:
    """[pixels, out] batch by batch, what a layer is to give at `places` of its block's output, where `added` comes on top."""
    wanted = [y.index_select(1, goal.channels.source[places]) for y in features]
    if added is not None:
        wanted = [y - x[:, places] for y, x in zip(wanted, added, strict=True)]
    return [_pixels(y) for y in wanted]


def _pixels(x: Tensor) -> Tensor:
    """[N H W, C] of a map [N, C, H, W]."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _taken(rows: list[Tensor], goals: list[Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pixels to fit to and held-out ones, each with their goals: evenly spread, the last share of each batch held out."""
    step = max(1, sum(map(len, rows)) // _PIXELS)
    pairs = [(r[::step], g[::step]) for r, g in zip(rows, goals, strict=True)]
    cuts = [len(r) - len(r) // _HELD_OUT for r, _ in pairs]
    fit = [torch.cat([pair[side][:cut] for pair, cut in zip(pairs, cuts, strict=True)]) for side in (0, 1)]
    held = [torch.cat([pair[side][cut:] for pair, cut in zip(pairs, cuts, strict=True)]) for side in (0, 1)]
    return (fit[0], fit[1]), (held[0], held[1])


def _error(found: Tensor, wanted: Tensor) -> float:
    """Squared error over variance, 0 for the goal itself, about 1 for its mean."""
    return float((found - wanted).square().mean(0).sum() / wanted.var(0).sum().clamp_min(torch.finfo(wanted.dtype).tiny))
