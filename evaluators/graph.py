"""The operator graph of a block or a network, traced on meta tensors (shapes only, no data).

A node is one aten operation; its attributes are

    op         aten's name without overload and trailing underscore: "convolution", "hardswish", "slice"
    inputs     shapes of the input tensors that depend on the image, in order
    shape      shape of the (first) output
    weights    elements of the constant input tensors (parameters, buffers)
    view       whether it moves no data (the output shares the input's storage)
    in_place   whether it overwrites its input
    memory     the first node that wrote to its output's storage
    stored     elements of that storage
    kernel, stride, padding, dilation, groups, ceil_mode   of convolutions and poolings

Nodes are numbered in execution order; edges follow tensors, including through views and in-place writes. The
sources are nodes with op "input" and, for a block that reads it, "image". Operations on constants only, and those
that the output does not need, are left out. Graph attributes: in_shape, out_shape, params, output (a node).
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import networkx as nx
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import build_block, run_block
from search_spaces.task import Task

Shape = tuple[int, ...]
Image = tuple[int, int, int]

_KEEPS_SHAPE = frozenset(
    ["native_batch_norm", "relu", "hardtanh", "hardswish", "hardsigmoid", "silu", "sigmoid", "leaky_relu", "add", "mul"]
)
_CONVOLUTION = ("weight", "stride", "padding", "dilation", "groups")


def traced_blocks(genotype: Genotype, task: Task) -> Iterator[tuple[BlockSpec, "nx.DiGraph[int]"]]:
    """Each block with its graph, in order."""
    shape: Shape = task.input
    for spec in genotype.blocks:
        assert len(shape) == 3
        graph = block_graph(spec, shape, task.input, task.classes)
        yield spec, graph
        shape = graph.graph["out_shape"]


def network_graph(genotype: Genotype, task: Task) -> "nx.DiGraph[int]":
    """The network's graph, joined from its blocks' graphs; a node's `block` is its index in the genotype."""
    whole: nx.DiGraph[int] = nx.DiGraph(in_shape=task.input, params=0)
    whole.add_node(0, op="input", inputs=(), shape=(1, *task.input), weights=0, view=False, in_place=False, block=-1)
    whole.nodes[0].update(memory=0, stored=math.prod(task.input))
    last = 0
    for index, (_, graph) in enumerate(traced_blocks(genotype, task)):
        last = _append(whole, graph, index, last)
        whole.graph["params"] += graph.graph["params"]
        whole.graph["out_shape"] = graph.graph["out_shape"]
    whole.graph["output"] = last
    return nx.freeze(whole)


def _append(whole: "nx.DiGraph[int]", graph: "nx.DiGraph[int]", index: int, last: int) -> int:
    """Adds a block's nodes; returns the number of the node that writes its output."""
    number = {n: {"input": last, "image": 0}.get(op, len(whole) + i) for i, (n, op) in enumerate(_ops(graph))}
    for node, data in graph.nodes(data=True):
        if data["op"] not in ("input", "image"):
            whole.add_node(number[node], **data | {"memory": number.get(data["memory"], number[node])}, block=index)
    whole.add_edges_from((number[a], number[b]) for a, b in graph.edges)
    return number[graph.graph["output"]]


def _ops(graph: "nx.DiGraph[int]") -> list[tuple[int, str]]:
    ops = [(n, str(data["op"])) for n, data in graph.nodes(data=True)]
    return sorted(ops, key=lambda entry: entry[1] in ("input", "image"))


@lru_cache(maxsize=1024)
def block_graph(spec: BlockSpec, in_shape: Image, image: Image, classes: int) -> "nx.DiGraph[int]":
    """The graph of one block for input [1, *in_shape] in a network with input [1, *image]. Cached: do not modify it.

    Raises InputError quoting the block when its knobs are incompatible.
    """
    with torch.device("meta"):
        module = build_block(spec, in_shape[0], classes).eval()
    return nx.freeze(trace(module, in_shape, image))


def trace(module: nn.Module, in_shape: Shape, image: Shape) -> "nx.DiGraph[int]":
    """The graph of a block's module, with parameters on the meta device, for one image."""
    x = torch.empty(1, *in_shape, device="meta")
    source = torch.empty(1, *image, device="meta")
    recorder = _Recorder(x, source)
    with torch.no_grad(), recorder:
        y = run_block(module, x, source)
    graph = recorder.graph
    output = recorder.writer(y)
    assert output is not None, "the block's output does not depend on its input"
    needed = nx.ancestors(graph, output) | {output, 0}
    graph.remove_nodes_from([n for n in graph if n not in needed])
    params = sum(p.numel() for p in module.parameters())
    graph.graph.update(in_shape=tuple(in_shape), out_shape=tuple(y.shape[1:]), params=params, output=output)
    return graph


class _Recorder(TorchDispatchMode):
    """Records every aten operation on tensors that depend on the sources in `graph`."""

    def __init__(self, x: Tensor, image: Tensor) -> None:
        super().__init__()
        self.graph: nx.DiGraph[int] = nx.DiGraph()
        self._writers: dict[int, int] = {}
        self._storages: dict[int, list[Tensor]] = {}  # keeps every tensor alive, so that no id() is reused
        self._first: dict[int, int] = {}  # the first node that wrote to a storage
        for op, source in (("input", x), ("image", image)):
            self._record(op, (), source)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _run(func, args, kwargs or {})
        read = [*_tensors(args), *_tensors(tuple((kwargs or {}).values()))]
        written = list(_tensors(result))
        for tensor in (*read, *written):
            self._remember(tensor)
        data = [t for t in read if self.writer(t) is not None]
        if data and written:
            self._operation(func, args, read, data, written)
        return result

    def writer(self, tensor: Tensor) -> int | None:
        """The last node that wrote the tensor; None for constants."""
        return self._writers.get(id(tensor))

    def _operation(self, func: Any, args: Any, read: list[Tensor], data: list[Tensor], written: list[Tensor]) -> None:
        constants = [t for t in read if self.writer(t) is None]
        storages = {_storage(t) for t in read}
        in_place = any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments)
        view = not in_place and _storage(written[0]) in storages
        node = self._record(
            func.overloadpacket.__name__.removesuffix("_"),
            tuple(tuple(t.shape) for t in data),
            written[0],
            weights=sum(t.numel() for t in constants),
            view=view,
            in_place=in_place,
            **_attributes(func, args),
        )
        sources = {self._writers[id(t)] for t in data}
        if in_place:
            shared = self._storages[_storage(written[0])]
            sources |= {self._writers[id(t)] for t in shared if id(t) in self._writers} - {node}
            written = [*written, *shared]
        self.graph.add_edges_from((source, node) for source in sources - {node})
        for tensor in written:
            self._writers[id(tensor)] = node

    def _record(self, op: str, inputs: tuple[Shape, ...], output: Tensor, **attributes: Any) -> int:
        node = len(self.graph)
        known = {"weights": 0, "view": False, "in_place": False} | attributes
        storage = output.untyped_storage()
        known["memory"] = self._first.setdefault(_storage(output), node)
        known["stored"] = storage.nbytes() // output.element_size()
        self.graph.add_node(node, op=op, inputs=inputs, shape=tuple(output.shape), **known)
        if not inputs:
            self._remember(output)
            self._writers[id(output)] = node
        return node

    def _remember(self, tensor: Tensor) -> None:
        known = self._storages.setdefault(_storage(tensor), [])
        if not any(t is tensor for t in known):
            known.append(tensor)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """The operation's result; skips torch's slow meta kernels for operations that keep their input's shape."""
    name = func.overloadpacket.__name__
    operands = args[:2] if name.removesuffix("_") in ("add", "mul") else args[:1]
    alike = all(isinstance(operand, Tensor) and operand.shape == args[0].shape for operand in operands)
    if name.removesuffix("_") not in _KEEPS_SHAPE or not alike:
        return func(*args, **kwargs)
    if name.endswith("_"):
        return args[0]
    result = torch.empty_like(args[0])
    return (result, *(result.new_empty(0) for _ in range(2))) if name == "native_batch_norm" else result


def _tensors(values: Any) -> Iterator[Tensor]:
    """Every tensor among arguments or results, in order."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _attributes(func: Any, args: Any) -> dict[str, Any]:
    """Kernel, stride, padding, dilation and groups of a convolution or pooling, as pairs (groups as a number)."""
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False))
    name = func.overloadpacket.__name__
    if name == "convolution":
        found = {key: given[key] for key in _CONVOLUTION}
        found["kernel"] = tuple(found.pop("weight").shape[2:])
    elif "kernel_size" in given:
        wanted = ("stride", "padding", "dilation", "ceil_mode")
        found = {"kernel": given["kernel_size"]} | {k: given[k] for k in wanted if k in given}
    else:
        return {}
    return {key: tuple(v) if isinstance(v, (list, tuple)) else v for key, v in found.items()}
