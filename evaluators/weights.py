"""Weights of a network in a safetensors file, and the network in a folder of ours: genotype.txt beside its weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.durable import replace_file
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.network import Network

NORM_EPS = 1e-5  # of batch norms, in every file of weights that is written here
GENOTYPE, WEIGHTS = "genotype.txt", "weights.safetensors"
NORMALISATION = "normalisation.json"  # beside them: mean and std, by channel, of the images that it was trained on
Moments = tuple[tuple[float, ...], tuple[float, ...]]


def packed(network: "nn.Module") -> bytes:
    """Parameters and buffers as the content of a safetensors file.

    An epsilon of batch norms other than torch's goes into their variances, so that a network that is built and loaded has
    the same outputs in eval mode.
    """
    from safetensors.torch import save
    from torch import nn

    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None and module.eps != NORM_EPS:
            tensors[f"{name}.running_var"] = module.running_var + (module.eps - NORM_EPS)
    return bytes(save(tensors))


def write_weights(weights: bytes, path: Path) -> None:
    """Writes what `packed` returned, in place at once when it is whole and on the disk; raises OSError."""
    replace_file(path, weights)


def save_weights(network: "nn.Module", path: Path) -> None:
    """Writes parameters and buffers, in place at once when they are whole and on the disk; raises OSError."""
    write_weights(packed(network), path)


def load_weights(network: "nn.Module", path: Path) -> None:
    """Fills the network from a file that `save_weights` wrote; raises InputError when it is damaged or of another network."""
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
    """The network in eval mode, with the weights in a safetensors file if given; raises InputError if it is damaged."""
    from search_spaces.network import build

    network = build(genotype, task)
    if weights:
        load_weights(network, weights)
    return network.eval()
