"""Fine-tuning with fake quantisation, for networks that lose accuracy in int8.

Weights and inputs of convolutions and linear layers are rounded as in int8 in the forward pass, and gradients pass straight
through (Jacob et al., arXiv:1712.05877), by torch's own modules. Batch norm is folded first, because the deployed weights are.
"""

import copy
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao.quantization.fake_quantize import FakeQuantize
from torch.ao.quantization.observer import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from evaluators.training.distill import distilled
from evaluators.training.lean import folded
from search_spaces.ops.norm_act import normed

RATE = 1e-4
"""Learning rate of AdamW; falls to zero along a cosine."""

_LEAST = 1e-4  # smaller factors of batch norm are not divided by


def fine_tune(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], steps: int, bits: int) -> nn.Module:
    """A copy of a trained network in eval mode, trained on `batches` (images [B, C, H, W], labels [B]) with fake quantisation.

    `steps` is the number of batches, `bits` those of a quantised weight. The network's own logits are the targets, besides the
    labels.
    """
    teacher = copy.deepcopy(network).eval()
    student = folded(network)
    layers = [module for module in student.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [_fake(layer, bits) for layer in layers]
    student.to(next(network.parameters()).device)
    rounded = [parameter.requires_grad_() for parameter in student.parameters() if parameter.is_floating_point()]
    optimizer = torch.optim.AdamW(rounded, lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for images, labels in batches:
        with torch.no_grad():
            taught = teacher(images)
        logits = student(images)
        loss = distilled(logits, taught, F.cross_entropy(logits, labels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    for layer, hook in zip(layers, hooks, strict=True):
        hook.remove()
        remove_parametrizations(layer, "weight", leave_parametrized=False)
    return _unfolded(student, network)


def _fake(layer: nn.Module, bits: int) -> torch.utils.hooks.RemovableHandle:
    """Round a layer's weights per output channel to `bits` bits, and its input to uint8; returns the input's hook."""
    levels = 2**bits
    weights = FakeQuantize(
        MovingAveragePerChannelMinMaxObserver,
        quant_min=-levels // 2,
        quant_max=levels // 2 - 1,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )
    inputs = FakeQuantize(
        MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8, qscheme=torch.per_tensor_affine
    )
    register_parametrization(layer, "weight", weights, unsafe=True)
    return layer.register_forward_pre_hook(lambda _, given: (inputs(given[0]),))


def _unfolded(student: nn.Module, network: nn.Module) -> nn.Module:
    """A copy of `network` that computes what `student`, its folded form, computes."""
    found = copy.deepcopy(network).eval()
    own, names = dict(student.named_parameters()), {module: name for name, module in found.named_modules()}
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name in own:
                parameter.copy_(own[name])
        for layers, place in normed(found):
            convolution, norm = cast(nn.Conv2d, layers[place]), cast(nn.BatchNorm2d, layers[place + 1])
            name = names[convolution]
            _unfold(convolution, norm, own[f"{name}.weight"], own[f"{name}.bias"])
    return found


def _unfold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> None:
    """Set a convolution and its batch norm so that together they apply `weight` and `bias`; statistics stay as they are."""
    deviation = (cast(Tensor, norm.running_var) + norm.eps).sqrt()
    scale = norm.weight / deviation
    norm.weight.copy_(torch.where(scale.abs() < _LEAST, deviation, norm.weight))
    scale = norm.weight / deviation
    convolution.weight.copy_(weight / scale[:, None, None, None])
    before = 0.0 if convolution.bias is None else convolution.bias
    norm.bias.copy_(bias - (before - cast(Tensor, norm.running_mean)) * scale)
