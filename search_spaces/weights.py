"""Loads trained weights from other libraries into an anchor, matching tensors by layer name.

An anchor lists a source's layer names in the order of its own layers, with shell-style braces:

    weights:
      torchvision: |
        features.0.{0,1}
        features.{1..17}.conv.{0.0,0.1}
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bracex
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces.anchor import Anchor
from search_spaces.errors import InputError, shortened
from search_spaces.network import Network, build
from search_spaces.task import Task

Tensors = Mapping[str, Tensor]
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def load_pretrained(known: Anchor, path: Path) -> Network:
    """The anchor's network with the weights in `path`: safetensors, a torch state dict, or .npz arrays.

    Its batch norms have the source's epsilon, so that outputs in eval mode match the source. Raises InputError when the file
    cannot be read, or its layer names match none of the anchor's sources.
    """
    return as_trained(known, read_tensors(path), str(path)).network


class Loaded(NamedTuple):
    """A network in eval mode with a source's tensors and batch norm epsilon; its task; the source."""

    network: Network
    task: Task
    source: str


def as_trained(known: Anchor, tensors: Tensors, where: str) -> Loaded:
    """The anchor's network with the tensors of one of its sources, for their number of classes.

    `where` is the origin of the tensors in messages. A batch norm whose statistics are folded into weight and bias gets
    neutral statistics. Raises InputError when the layer names match none of the anchor's sources.
    """
    names, source = _source_of(known, tensors, where)
    task = Task(known.task.input, _classes(tensors, names[-1], known.task.classes))
    if not task.classes:
        raise InputError(f"{where}: layer {names[-1]} has no classes")
    network = build(known.genotype, task)
    layers = [module for module in network.modules() if has_tensors(module)]
    assert len(layers) == len(names), f"{known.name}: {len(names)} names of {source} for {len(layers)} layers"
    for name, layer in zip(names, layers, strict=True):
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = known.norm_eps
        _fill(layer, name, tensors, f"{where}: layer {name} of {source}'s {known.name}")
    named = set(names)
    if left := sorted(tensor for tensor in tensors if tensor.rpartition(".")[0] not in named):
        raise InputError(f"{where} has tensors that match no layer of {known.name}: {_some(left)}")
    return Loaded(network.eval(), task, source)


def has_tensors(module: nn.Module) -> bool:
    """Whether a module has parameters of its own."""
    return next(module.parameters(recurse=False), None) is not None


def expand(pattern: str) -> list[str]:
    """Expands {a,b} and {1..3} in the words of `pattern`, with the leftmost brace varying slowest."""
    return [name for word in _words(pattern) for name in bracex.expand(word, limit=0)]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by name, without wrappers such as "state_dict" and the prefix "module."; runs no code.

    Raises InputError for a file that cannot be read, and for tensors that `check_tensors` rejects.
    """
    return state_dict(_read(path, "a weights file (.safetensors, .npz, torch's state dict)"), str(path))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file by name, unchanged; raises InputError like `read_tensors`."""
    found: dict[str, Tensor] = _read(path, "a safetensors file", load_file)
    check_tensors(found, str(path))
    return found


def state_dict(found: object, where: str) -> dict[str, Tensor]:
    """The tensors by name in a loaded file, without wrappers and the prefix "module."; raises InputError."""
    for key in _WRAPPERS:
        found = found.get(key, found) if isinstance(found, dict) else found
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())
    ):
        raise InputError(f"{where} holds no state dict: expected tensors by name")
    tensors = {name.removeprefix("module."): t for name, t in found.items() if not name.endswith("num_batches_tracked")}
    check_tensors(tensors, where)
    return tensors


def check_tensors(tensors: Tensors, where: str) -> None:
    """Raises InputError unless all tensors are dense, real and finite; `where` is their origin in messages."""
    for name, tensor in tensors.items():
        if what := _unusual(tensor):
            raise InputError(f"{where}: {shortened(name)} is {what}; expected dense tensors of real numbers")
        if not tensor.float().isfinite().all():
            raise InputError(f"{where}: {shortened(name)} holds values that are not finite")


def _unusual(tensor: Tensor) -> str:
    """Why a tensor is not supported; empty for dense tensors of real numbers."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"sparse or nested ({tensor.layout})"
    if tensor.is_quantized or tensor.is_complex():
        return "quantised" if tensor.is_quantized else "complex"
    held = 0 if tensor.is_meta else tensor.untyped_storage().nbytes()
    return "" if tensor.numel() * tensor.element_size() <= held else "larger than its data in the file"


def _read(path: Path, what: str, read: Callable[[Path], Any] | None = None) -> Any:
    """Reads a file with the library for its suffix; raises InputError that calls the file `what`."""
    try:
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        return (read or _READERS.get(path.suffix, _read_torch))(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 readers may raise anything on a damaged file
        reason = shortened(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise InputError(f"{path} is not {what}: {reason}") from None


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {".npz": _read_npz, ".safetensors": load_file}


def _words(pattern: str) -> list[str]:
    """Splits at whitespace; drops whitespace within braces."""
    depth, text = 0, ""
    for letter in pattern:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        text += "" if letter.isspace() and depth else letter
    return text.split()


def _source_of(known: Anchor, tensors: Tensors, where: str) -> tuple[list[str], str]:
    """(layer names, source) of the source whose layers are all among the tensors."""
    if not known.weights:
        raise InputError(f"anchor {known.name} lists no layer names for any source of weights")
    layers = {tensor.rpartition(".")[0] for tensor in tensors}
    names = {source: expand(pattern) for source, pattern in known.weights.items()}
    missing = {source: [name for name in expected if name not in layers] for source, expected in names.items()}
    source = min(missing, key=lambda s: len(missing[s]))
    lacks = missing[source]
    if len(lacks) == len(names[source]):
        expected = "; ".join(f"{s}'s are {_some(n)}" for s, n in names.items())
        raise InputError(f"{where} is not of {known.name}: its layers are {_some(sorted(layers))}; {expected}")
    if lacks:
        share = f"{len(lacks)} of {len(names[source])} layers of {source}'s {known.name}"
        raise InputError(f"{where} is not of {known.name}, or incomplete: it lacks {share}: {_some(lacks)}")
    return names[source], source


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + " ..." * (len(names) > 4)


def _classes(tensors: Tensors, name: str, default: int) -> int:
    weight = _tensor(tensors, name, "weight", 0)
    return default if weight is None or not weight.dim() else len(weight)


def _tensor(tensors: Tensors, layer: str, role: str, place: int) -> Tensor | None:
    """A layer's tensor by its role, or by its position, as in Caffe's blobs."""
    return tensors.get(f"{layer}.{role}", tensors.get(f"{layer}.{place}"))


def _fill(layer: nn.Module, name: str, tensors: Tensors, where: str) -> None:
    roles = _roles(layer)
    for place, role in enumerate(roles):
        target, found = getattr(layer, role), _tensor(tensors, name, role, place)
        if found is None and role not in ("running_mean", "running_var"):
            raise InputError(f"{where} has no {role}")
        if found is None:  # statistics are folded into weight and bias
            found = torch.zeros_like(target) if role == "running_mean" else torch.ones_like(target) - layer.eps  # type: ignore[operator]
        if target.is_floating_point() and not found.is_floating_point():
            raise InputError(f"{where}: {role} has integers ({found.dtype}), like quantised weights; expected floats")
        if found.numel() != target.numel() or _squeezed(found) != _squeezed(target):
            raise InputError(f"{where}: {role} has shape {tuple(found.shape)}, not {tuple(target.shape)}")
        with torch.no_grad():
            target.copy_(found.reshape(target.shape))
    spare = _tensor(tensors, name, "bias", 1)
    if "bias" not in roles and not hasattr(layer, "row_offsets") and spare is not None:
        raise InputError(f"{where} has a bias, but the anchor's layer has none")


def _roles(layer: nn.Module) -> list[str]:
    """The layer's tensors in the order of Caffe's blobs."""
    if hasattr(layer, "row_offsets"):
        return ["col_offsets", "row_offsets"]
    order = ("weight", "bias", "running_mean", "running_var")
    return [role for role in order if isinstance(getattr(layer, role, None), Tensor)]


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    """The shape without trailing ones: a 1x1 convolution may stand for a linear layer."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
