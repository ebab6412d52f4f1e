"""Plain torch source, for use without this package: loads weights.safetensors beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

    from search_spaces.network import Network
    from search_spaces.task import Task

FILE = "network.py"
USE = """import network, torch
logits = network.load()(torch.from_numpy(image)).detach()"""

# ATen operators by the function of torch that takes the same arguments in the same order; `F` is torch.nn.functional.
_FUNCTIONS = {
    **{f"aten.{name}.default": f"F.{name}" for name in ("adaptive_avg_pool2d", "avg_pool2d", "conv2d", "gelu", "hardsigmoid")},
    **{f"aten.{name}.default": f"F.{name}" for name in ("hardswish", "hardtanh", "linear", "max_pool2d", "pad", "prelu")},
    **{f"aten.{name}.default": f"F.{name}" for name in ("relu", "relu6", "silu")},
    **{f"aten.{name}_.default": f"F.{name}" for name in ("hardswish", "hardtanh", "hardsigmoid", "relu", "relu6", "silu")},
    **{f"aten.{name}.default": f"torch.{name}" for name in ("cat", "chunk", "clamp", "index_select", "permute", "reshape")},
    **{f"aten.{name}.default": f"torch.{name}" for name in ("sigmoid", "softmax", "tanh", "where")},
    "aten.flatten.using_ints": "torch.flatten",
    "aten.mean.dim": "torch.mean",
    "aten.split_with_sizes.default": "torch.split",
    "aten.transpose.int": "torch.transpose",
}
_SIGNS = {
    **{f"aten.{name}.Tensor": sign for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/"))},
    **{f"<built-in function {name}>": sign for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("floordiv", "//"))},
}

_BEGIN = '''"""A network in plain torch: {what}

Input [N, {channels}, {height}, {width}] float32, prepared as model.json says; output logits [N, {classes}].
For inference: dropout is off, and batch norms use their running statistics.
`python network.py` loads weights.safetensors and runs the network once.

{genotype}"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

INPUT = ({channels}, {height}, {width})
BUFFERS = {buffers}  # last parts of the names of tensors that are not trained
TYPES = {{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}}


class Network(torch.nn.Module):
    """The network with its tensors by name, as `read` returns them."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *path, last = name.split(".")
            place = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            if last in BUFFERS:
                place.register_buffer(last, tensor)
            else:
                place.register_parameter(last, torch.nn.Parameter(tensor))

    def forward(self, image):
        w = self.state_dict(keep_vars=True)
'''
_END = '''

def read(path):
    """The tensors in a safetensors file, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data[begin:end], dtype=TYPES[entry["dtype"]]).reshape(entry["shape"]).clone()
    return tensors


def load(folder=Path(__file__).parent):
    """The trained network, with the weights.safetensors in a folder."""
    return Network(read(Path(folder, "weights.safetensors"))).eval()


if __name__ == "__main__":
    network = load()
    with torch.no_grad():
        logits = network(torch.zeros(1, *INPUT))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters; logits of a black image: {logits.tolist()[0]}")
'''


def write(network: "Network", task: "Task", path: Path) -> None:
    import torch

    from evaluators.onnx import quiet
    from search_spaces.network import example_input

    with quiet(), torch.no_grad():
        images = {"image": {0: torch.export.Dim("batch", min=1)}}
        program = torch.export.export(network.eval(), (example_input(task, 2),), dynamic_shapes=images)
    channels, height, width = task.input
    begin = _BEGIN.format(
        what=f"genotype {network.genotype.id}.",
        genotype=network.genotype.text,
        channels=channels,
        height=height,
        width=width,
        classes=task.classes,
        buffers=sorted({name.rpartition(".")[2] for name, _ in network.named_buffers()}),
    )
    lines = "".join(f"        {line}\n" for line in _lines(program, network))
    path.write_text(begin + lines + _END, encoding="utf-8")


def _lines(program: "ExportedProgram", network: "Network") -> Iterator[str]:
    """The statements of `forward`, with the genotype's line before each block."""
    names, block = _inputs(program), ""
    for node in program.graph.nodes:
        if node.op == "call_function" and "assert" not in str(node.target):
            if (now := _block(node)) and now != block:
                block = now
                yield f"# block {block}: {network.genotype.blocks[int(block)].line}"
            names[node.name] = node.name
            yield f"{node.name} = {_call(node, names)}"
        elif node.op == "output":
            yield f"return {_value(node.args[0][0], names)}"


def _inputs(program: "ExportedProgram") -> dict[str, str]:
    """What each input of the graph is in the source, by the node's name: the image, a tensor of the network, or a constant."""
    found, kept = {}, program.graph_signature
    trained = {**kept.inputs_to_parameters, **kept.inputs_to_buffers}
    for spec in kept.input_specs:
        name, target = spec.arg.name, spec.target
        if target in program.constants:
            found[name] = _literal(program.constants[target])
        else:
            found[name] = f"w[{trained[name]!r}]" if name in trained else "image"
    return found


def _literal(tensor: Any) -> str:
    return f"torch.tensor({tensor.tolist()}, dtype={tensor.dtype})"


def _block(node: "Node") -> str:
    """The number of the genotype's block that a node belongs to; empty for nodes between blocks."""
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    numbers = [path.split(".")[1] for path in paths if path.startswith("blocks.")]
    return numbers[0] if numbers else ""


def _call(node: "Node", names: dict[str, str]) -> str:
    """The expression that computes a node."""
    given = [_value(argument, names) for argument in node.args]
    target = str(node.target)
    if "getitem" in target:
        return f"{given[0]}[{given[1]}]"
    if target in _SIGNS and not node.kwargs:
        return f"{given[0]} {_SIGNS[target]} {given[1]}"
    if target == "aten.batch_norm.default":
        x, weight, bias, mean, variance, _, momentum, epsilon, *_ = given
        return f"F.batch_norm({x}, {mean}, {variance}, {weight}, {bias}, False, {momentum}, {epsilon})"
    if target == "aten.dropout.default":
        return given[0]
    if target == "aten.sym_size.int":
        return f"{given[0]}.shape[{given[1]}]"
    given += [f"{name}={_value(argument, names)}" for name, argument in node.kwargs.items()]
    return f"{_FUNCTIONS.get(target, f'torch.ops.{target}')}({', '.join(given)})"


def _value(argument: Any, names: dict[str, str]) -> str:
    import torch

    if isinstance(argument, torch.fx.Node):
        return names[argument.name]
    if isinstance(argument, list | tuple):
        return f"[{', '.join(_value(one, names) for one in argument)}]"
    return f"torch.{argument!r}" if isinstance(argument, torch.device) else repr(argument)
