"""The cost of an untrained network from its traced graph: parameters, MACs, activations, peak memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    import networkx as nx

    from evaluators.precision import Precision

LINEAR = ("addmm", "mm")
# Elementwise operations, which can run in place.
ELEMENTWISE = frozenset(
    [
        "native_batch_norm",
        "relu",
        "hardtanh",
        "clamp",
        "hardswish",
        "hardsigmoid",
        "silu",
        "sigmoid",
        "leaky_relu",
        "_prelu_kernel",
        "add",
        "sub",
        "mul",
        "div",
    ]
)
_MIB = 2**20
_FLOAT32_BYTES = 4
Image = tuple[int, int, int]


@dataclass(frozen=True)
class Cost:
    """The cost of a network or of one of its blocks.

    params: trainable parameters, including the scale and shift of batch norm.
    macs: multiply-accumulates of convolutions (Cout Hout Wout Cin/groups k k) and linear layers (in out) for one image; biases
        and everything else count as zero.
    activations: output elements of convolutions and linear layers (arXiv:2003.13678, section 3.3) for one image.
    peak_mib: largest total of float32 feature maps alive at once, in MiB, at batch 1, in the order of the code. Batch norm and
        elementwise operations run in place where nothing else reads their input; excludes weights and workspaces
        (arXiv:2007.10319).
    weights: weights of convolutions and linear layers, without biases.
    """

    params: int
    macs: int
    activations: int
    peak_mib: float
    weights: int

    def size_bytes(self, precision: "Precision") -> int:
        """Bytes of the trained parameters as deployed.

        float32: 4 bytes per parameter. int8: 1 byte per weight of a convolution or linear layer, and 4 bytes per other
        parameter: batch norm's scale and shift become the scale and the bias of quantised weights.
        """
        return _FLOAT32_BYTES * self.params - (_FLOAT32_BYTES - 1) * self.weights * (precision == "int8")

    def memory_bytes(self, precision: "Precision") -> int:
        """Peak activation memory in bytes: `peak_mib`, with 1 byte per element in int8."""
        return round(self.peak_mib * _MIB / (1 if precision == "float32" else _FLOAT32_BYTES))


@dataclass(frozen=True)
class BlockCost:
    """The cost of one block; shapes are (channels, height, width), the head's output (classes,)."""

    spec: BlockSpec
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, ...]
    cost: Cost


def cost(genotype: Genotype, task: Task) -> Cost:
    """The cost of a network: the sum of its blocks' parameters, MACs and activations, and their largest peak.

    Raises InputError quoting the block when its knobs are incompatible.
    """
    found = _all_traced(genotype, task)
    last_reader = _last_reader(found)
    return Cost(
        params=sum([traced.params for traced in found]),
        macs=sum([traced.macs for traced in found]),
        activations=sum([traced.activations for traced in found]),
        peak_mib=max([traced.peak_mib(task, index, last_reader) for index, traced in enumerate(found)]),
        weights=sum([traced.weights for traced in found]),
    )


def block_costs(genotype: Genotype, task: Task) -> list[BlockCost]:
    """The cost of each block in the network; an image that a later block reads stays in memory until then."""
    found = _all_traced(genotype, task)
    last_reader = _last_reader(found)
    in_shapes = [task.input, *(traced.out_shape for traced in found)]
    return [
        BlockCost(spec, in_shape, traced.out_shape, traced.cost(task, index, last_reader))  # type: ignore[arg-type]
        for index, (spec, in_shape, traced) in enumerate(zip(genotype.blocks, in_shapes, found, strict=False))
    ]


def macs(node: Mapping[str, Any]) -> int:
    """MACs of one graph node, counted as in Cost."""
    if node["op"] == "convolution":
        channels = node["inputs"][0][1] // node["groups"]
        return math.prod(node["shape"]) * channels * math.prod(node["kernel"])
    if node["op"] in LINEAR and node["weights"]:
        return math.prod(node["shape"]) * int(node["inputs"][0][-1])
    return 0


def _weights(node: Mapping[str, Any]) -> int:
    """Weights of a convolution or linear layer, without its bias; 0 for other nodes."""
    if node["op"] == "convolution":
        return macs(node) // math.prod(node["shape"][2:])
    return macs(node) // math.prod(node["shape"][:-1]) if macs(node) else 0


@dataclass(frozen=True)
class _Traced:
    """Summary of a block's graph. Peaks are in elements: of the block alone, and with its input kept until the end."""

    out_shape: tuple[int, ...]
    reads_image: bool
    params: int
    macs: int
    activations: int
    weights: int
    peak: int
    peak_kept: int

    def cost(self, task: Task, index: int, last_reader: int) -> Cost:
        return Cost(self.params, self.macs, self.activations, self.peak_mib(task, index, last_reader), self.weights)

    def peak_mib(self, task: Task, index: int, last_reader: int) -> float:
        """The peak of block `index`, where block `last_reader` is the last one that reads the image."""
        peak = self.peak
        if index < last_reader:
            peak = self.peak_kept if index == 0 else self.peak + math.prod(task.input) * (not self.reads_image)
        return peak * _FLOAT32_BYTES / _MIB


def _all_traced(genotype: Genotype, task: Task) -> list[_Traced]:
    found: list[_Traced] = []
    shape: tuple[int, ...] = task.input
    for spec in genotype.blocks:
        found.append(_traced(spec, shape, task.input, task.classes))  # type: ignore[arg-type]
        shape = found[-1].out_shape
    return found


def _last_reader(found: Sequence[_Traced]) -> int:
    return max((i for i, traced in enumerate(found) if traced.reads_image), default=-1)


@lru_cache(maxsize=2**17)
def _traced(spec: BlockSpec, in_shape: Image, image: Image, classes: int) -> _Traced:
    from evaluators.graph import block_graph  # imports torch

    graph = block_graph(spec, in_shape, image, classes)
    nodes = dict(graph.nodes(data=True))
    return _Traced(
        out_shape=graph.graph["out_shape"],
        reads_image=any(data["op"] == "image" for data in nodes.values()),
        params=graph.graph["params"],
        macs=sum(macs(data) for data in nodes.values()),
        activations=sum(math.prod(data["shape"]) for data in nodes.values() if macs(data)),
        weights=sum(_weights(data) for data in nodes.values()),
        peak=_peak(graph, keep_input=False),
        peak_kept=_peak(graph, keep_input=True),
    )


def _peak(graph: "nx.DiGraph[int]", keep_input: bool) -> int:
    """The largest number of elements alive at once when nodes run in order."""
    owners = _owners(graph)
    last = _last_reads(graph, owners)
    for node, data in graph.nodes(data=True):
        if node == graph.graph["output"] or data["op"] == "image" or (keep_input and data["op"] == "input"):
            last[owners[node]] = max(graph) + 1
    alive: dict[int, int] = {}
    peak = 0
    for node, data in graph.nodes(data=True):
        if owners[node] == node:
            alive[node] = data["stored"]
        peak = max(peak, sum(alive.values()))
        alive = {owner: size for owner, size in alive.items() if last.get(owner, node) > node}
    return peak


def _owners(graph: "nx.DiGraph[int]") -> dict[int, int]:
    """For each node, the node that allocated its output's memory."""
    owners: dict[int, int] = {}
    for node, data in graph.nodes(data=True):
        owner = owners.get(data["memory"], node)
        if owner == node and data["op"] in ELEMENTWISE:
            same = [s for s in graph.predecessors(node) if graph.nodes[s]["shape"] == data["shape"]]
            owner = next((owners[s] for s in same if _spent(graph, s, node, owners)), node)
        owners[node] = owner
    return owners


def _spent(graph: "nx.DiGraph[int]", source: int, node: int, owners: dict[int, int]) -> bool:
    """Whether nothing after `node` reads the memory of `source` (and `source` is not part of a larger tensor)."""
    mates = [n for n, owner in owners.items() if owner == owners[source]]
    whole = graph.nodes[owners[source]]["shape"] == graph.nodes[source]["shape"]
    held = any(graph.nodes[n]["op"] in ("input", "image") for n in mates)
    return whole and not held and all(reader <= node for n in mates for reader in graph.successors(n))


def _last_reads(graph: "nx.DiGraph[int]", owners: dict[int, int]) -> dict[int, int]:
    last: dict[int, int] = {}
    for source, reader in graph.edges:
        last[owners[source]] = max(last.get(owners[source], 0), reader)
    return last
