"""Weights in safetensors files, and networks in a folder: genotype.txt next to the weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.durable import replace_file
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.network import Network

NORM_EPS = 1e-5  # epsilon of batch norms in every weights file written here
GENOTYPE, WEIGHTS = "genotype.txt", "weights.safetensors"
NORMALISATION = "normalisation.json"  # next to them: mean and std per channel of the training images
Moments = tuple[tuple[float, ...], tuple[float, ...]]


def packed(network: "nn.Module") -> bytes:
    """Parameters and buffers as bytes of a safetensors file.

    A batch norm epsilon other than torch's default is folded into the variances, so that a network built anew has the same
    outputs in eval mode.
    """
    from safetensors.torch import save
    from torch import nn

    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None and module.eps != NORM_EPS:
            tensors[f"{name}.running_var"] = module.running_var + (module.eps - NORM_EPS)
    return bytes(save(tensors))


def write_weights(weights: bytes, path: Path) -> None:
    """Writes the output of `packed` atomically and durably; raises OSError."""
    replace_file(path, weights)


def save_weights(network: "nn.Module", path: Path) -> None:
    """Writes parameters and buffers atomically and durably; raises OSError."""
    write_weights(packed(network), path)


def load_weights(network: "nn.Module", path: Path) -> None:
    """Loads a file from `save_weights` into the network; raises InputError when it is damaged or of another network."""
    from search_spaces.weights import read_safetensors

    tensors, own = read_safetensors(path), network.state_dict()
    for name in tensors.keys() & own.keys():
        if tensors[name].is_floating_point() != own[name].is_floating_point():
            raise InputError(f"{path}: {name} is of type {tensors[name].dtype}, not {own[name].dtype}")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(f"{path}: cannot be read as this network's weights: {reason}") from None


def load_network(genotype: Genotype, task: Task, weights: Path | None) -> "Network":
    """Builds the network in eval mode and loads a weights file, if given; raises InputError when it is damaged."""
    from search_spaces.network import build

    network = build(genotype, task)
    if weights:
        load_weights(network, weights)
    return network.eval()
