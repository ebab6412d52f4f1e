"""Re-estimates batch-norm statistics of networks with inherited weights, and rescales convolutions to unit variance."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from evaluators.inheritance.donor import Donor
from evaluators.inheritance.filling import selects
from search_spaces.ops.norm_act import normed

_PIXELS = 2**18  # pixels per batch: larger feature maps exceed the cache
_FEWEST, _MOST = 8, 128
_DEAD = 1e-4  # channels with less than this share of the layer's largest standard deviation count as constant
Observer = Callable[[Tensor], None]


def estimate_statistics(network: nn.Module, images: Tensor) -> None:
    """Re-estimates the running statistics of all batch norms from images [N, C, H, W], normalised as for training.

    They are cumulative averages over batches in training mode, without dropout. A layer that selects channels also gets the
    measured standard deviation and mean as scale and shift, so that it remains an identity, in training too.
    """
    pairs = [(convolution, norm) for convolution, norm in _pairs(network) if selects(convolution)]
    constant = {id(norm) for _, norm in pairs}
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and id(m) not in constant]
    seen = [_Moments() for _ in pairs]
    with _modes_kept(network), _cumulative(norms):
        for norm in norms:
            norm.train()
        _observe(network, images, [(convolution, m.add) for (convolution, _), m in zip(pairs, seen, strict=True)])
    for (_, norm), moments in zip(pairs, seen, strict=True):
        _keep_function(norm, moments, 1.0)


def unit_variance(network: nn.Module, images: Tensor) -> None:
    """Rescales convolutions before batch norms to unit output variance on images [N, C, H, W], normalised.

    For weights with folded batch norms, whose scales vary widely. Scale, shift and statistics of the batch norms compensate:
    outputs in eval mode stay the same, and those in training mode match them.
    """
    pairs = list(_pairs(network))
    seen = [_Moments() for _ in pairs]
    with _modes_kept(network):
        _observe(network, images, [(convolution, m.add) for (convolution, _), m in zip(pairs, seen, strict=True)])
    for (convolution, norm), moments in zip(pairs, seen, strict=True):
        deviation = moments.variance.sqrt()
        factor = torch.where(deviation > _DEAD * deviation.max(), deviation, 1.0)
        with torch.no_grad():
            convolution.weight /= factor[:, None, None, None]
            if convolution.bias is not None:
                convolution.bias /= factor
        _keep_function(norm, moments, factor)


def calibrated(donor: Donor, images: Tensor) -> Donor:
    """The donor with the same function, but batch-norm statistics of images [N, C, H, W], normalised, and unit variance.

    Networks that inherit from it and re-estimate statistics on these images then stay close to the donor's function. Simply
    re-estimating statistics changes even the donor's (ridge on features of TrashNet: 78 % before, 69 % re-estimated, 77 % with
    this method, n = 300).
    """
    network = donor.network()
    unit_variance(network, images)
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    return replace(donor, tensors=tensors, folded=False)


class _Moments:
    """Mean and variance per channel of feature maps [N, C, H, W], averaged over batches like batch norm's."""

    def __init__(self) -> None:
        self.batches, self.mean, self.variance = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        self.batches += 1
        variance, mean = torch.var_mean(x, (0, 2, 3))
        self.mean = self.mean + (mean - self.mean) / self.batches
        self.variance = self.variance + (variance - self.variance) / self.batches


def _keep_function(norm: nn.BatchNorm2d, seen: _Moments, factor: Tensor | float) -> None:
    """Sets a batch norm's statistics to the measured ones, divided by `factor`, and compensates by scale and shift."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    with torch.no_grad():
        slope = norm.weight / (variance + norm.eps).sqrt()
        norm.bias.add_(slope * (seen.mean - mean))
        mean.copy_(seen.mean / factor)
        variance.copy_(seen.variance / factor**2)
        norm.weight.copy_(slope * factor * (variance + norm.eps).sqrt())


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm directly after it."""
    for layers, place in normed(network):
        yield cast(nn.Conv2d, layers[place]), cast(nn.BatchNorm2d, layers[place + 1])


def _observe(network: nn.Module, images: Tensor, observed: list[tuple[nn.Module, Observer]]) -> None:
    """Runs a network on the images batch by batch, and passes layer outputs to their observers."""
    handles: list[RemovableHandle] = []
    for module, see in observed:
        handles.append(module.register_forward_hook(lambda _module, _inputs, output, see=see: see(output)))  # type: ignore[misc]
    try:
        with torch.no_grad():
            for batch in images.tensor_split(-(-len(images) // batch_size(images))):
                network(batch)
    finally:
        for handle in handles:
            handle.remove()


def batch_size(images: Tensor) -> int:
    """The batch size for images [N, C, H, W] that limits memory at any image size."""
    return max(_FEWEST, min(_MOST, _PIXELS // (images.shape[2] * images.shape[3])))


@contextmanager
def _modes_kept(network: nn.Module) -> Iterator[None]:
    """Eval mode within the context; restores every module's mode afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _cumulative(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Resets the statistics of batch norms, and makes them cumulative averages within the context."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
