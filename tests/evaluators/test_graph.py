"""The traced graph: its nodes, edges and attributes."""

import networkx as nx
import torch
from every_block import every_block
from torch import nn

from evaluators.graph import block_graph, network_graph, trace
from search_spaces.anchor import anchor
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)


def test_nodes_of_an_inverted_residual() -> None:
    spec = BlockSpec.make("inverted_residual", 16, 1, {"kernel": 5, "expand": 2.0})
    graph = block_graph(spec, (16, 8, 8), TASK.input, 10)
    ops = [op for _, op in graph.nodes(data="op")]
    assert ops == [
        "input", "convolution", "native_batch_norm", "hardtanh", "convolution", "native_batch_norm", "hardtanh",
        "convolution", "native_batch_norm", "add",
    ]  # fmt: skip
    nodes = list(graph)
    depthwise = graph.nodes[nodes[4]]
    assert (depthwise["kernel"], depthwise["groups"], depthwise["stride"]) == ((5, 5), 32, (1, 1))
    assert set(graph.predecessors(nodes[9])) == {nodes[0], nodes[8]}
    assert graph.graph["out_shape"] == (16, 8, 8)


def test_the_same_block_is_traced_once() -> None:
    spec = BlockSpec.make("inverted_residual", 16, 1)
    assert block_graph(spec, (16, 8, 8), TASK.input, 10) is block_graph(spec, (16, 8, 8), TASK.input, 10)


def test_every_kind_of_block_is_connected() -> None:
    for text in every_block().values():
        graph = block_graph(Genotype.parse(f"{text}\nhead").blocks[0], (24, 8, 8), TASK.input, 10)
        output = graph.graph["output"]
        assert nx.is_directed_acyclic_graph(graph) and nx.ancestors(graph, output) == set(graph) - {output}


def test_network_graph_joins_the_blocks() -> None:
    known = anchor("mobilenet_v2")
    graph = network_graph(known.genotype, known.task)
    assert graph.graph["params"] == known.params and graph.graph["out_shape"] == (1000,)
    assert nx.is_directed_acyclic_graph(graph) and graph.nodes[0]["op"] == "input"
    assert sum(op == "convolution" for _, op in graph.nodes(data="op")) == 52
    assert {block for _, block in graph.nodes(data="block")} == set(range(-1, len(known.genotype.blocks)))


def test_a_block_that_reads_the_image_hangs_on_it() -> None:
    graph = network_graph(Genotype.parse("conv 16/2\neesp 32/2 reinforce=yes\nhead"), TASK)
    assert len(set(graph.successors(0))) == 2


class _WritesIntoViews(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros_like(x)
        y[:, :2] = x[:, 2:]
        y[:, 2:] = x[:, :2]
        return y


def test_edges_follow_writes_into_views() -> None:
    graph = trace(_WritesIntoViews().to("meta"), (4, 8, 8), (3, 8, 8))
    copies = [n for n, op in graph.nodes(data="op") if op == "copy"]
    assert len(copies) == 2 and graph.graph["output"] == copies[1]
    assert copies[0] in nx.ancestors(graph, copies[1])
