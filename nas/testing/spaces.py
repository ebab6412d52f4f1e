"""check_space: test suite for a search space."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch.func import functional_call

from evaluators.cost import block_costs, cost
from evaluators.supernet.shared import members, part, uses
from nas.testing.networks import counted
from nas.testing.said import said
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, PaddingRule
from search_spaces.network import build
from search_spaces.registry import Value
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space

_ENCODED, _BUILT, _COUNTED = 100, 20, 3  # numbers of random genotypes
_CLASSES = 10


def check_space(space: str) -> None:
    """Check the search space `space`, a name or YAML file; raises AssertionError that says what is wrong.

    It must have a summary. Random genotypes, with both padding rules, must encode to valid genes and decode to the same
    genotype; inactive genes must have no effect; their text must parse to the same genotype; networks must build and give
    logits [N, classes]; counts must match what torch runs, and sum over blocks; every parameter must be part of the supernet's.
    Its file must state correctly which anchors are inside, and which gene excludes each of the others.
    Raises InputError for a file that is not a valid space.
    """
    known = load_space(space)
    assert known.summary.strip(), f"space {space} has no summary"
    for way in (replace(known, padding=padding) for padding in get_args(PaddingRule)):
        for seed in range(_ENCODED):
            _check_genes(way, seed)
    genotypes = list(_drawn(known, _BUILT))
    _check_networks(known, genotypes)
    for genotype in genotypes[:_COUNTED]:
        _check_figures(genotype)
    _check_anchors(known)


def _drawn(space: SearchSpace, count: int) -> Iterator[Genotype]:
    rng = random.Random(0)
    return (space.sample(rng) for _ in range(count))


def _lines(genotype: Genotype) -> str:
    return f'"{"; ".join(genotype.text.splitlines())}"'


def _check_genes(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    table = {gene: rng.choice(values) for gene, values in space.genes.items()}
    read: set[str] = set()

    def choose(gene: str, _: Sequence[Value]) -> Value:
        read.add(gene)
        return table[gene]

    genotype = space.decode(choose)
    where = f"space {space.name}, {_lines(genotype)}"
    with said(f"{where} cannot be encoded"):
        genes = space.encode(genotype)
    wrong = [gene for gene, value in genes.items() if value not in space.genes.get(gene, ())]
    assert not wrong, f"{where}: its genes {', '.join(wrong)} have invalid values"
    assert space.decode(genes) == genotype, f"{where}: its genes decode to another network"
    assert Genotype.parse(genotype.text) == genotype, f"{where}: its text parses to another genotype"
    assert genotype.input in space.inputs, f"{where} has an input that is not in the space"
    noise = {gene: table[gene] if gene in read else rng.choice(values) for gene, values in space.genes.items()}
    assert space.decode(noise) == genotype, f"{where} changes with inactive genes"


def _check_networks(space: SearchSpace, genotypes: Sequence[Genotype]) -> None:
    """Build networks with weights of the supernet, on the meta device."""
    with said(f"space {space.name}: its blocks do not build, or those of one kind and stage cannot share weights"):
        shared = {key: torch.empty(m.shape, device="meta") for key, m in members(space, space.task(_CLASSES)).items()}
    for genotype in genotypes:
        where, task = f"space {space.name}, {_lines(genotype)}", genotype.task(_CLASSES)
        with said(f"{where} does not build"), torch.device("meta"):
            network = build(genotype, task).eval()
        with said(f"{where} cannot take its weights from the supernet"):
            taken = {name: part(shared[key], p.shape) for name, key, p in uses(space, genotype, network.blocks)}
        own = {name: parameter.shape for name, parameter in network.named_parameters()}
        assert own == {name: tensor.shape for name, tensor in taken.items()}, (
            f"{where} does not share exactly its own parameters"
        )
        with said(f"{where} does not run"):
            logits = functional_call(network, taken, torch.empty(2, *task.input, device="meta"))
        assert list(logits.shape) == [2, _CLASSES], f"{where} gives {list(logits.shape)}, not logits {[2, _CLASSES]}"


def _check_figures(genotype: Genotype) -> None:
    where, task = _lines(genotype), genotype.task(_CLASSES)
    found, blocks = cost(genotype, task), block_costs(genotype, task)
    figures, own = (found.params, found.macs, found.activations), counted(genotype, task)
    assert figures == own, f"{where}: its graph has (params, MACs, activations) {figures}, its modules have {own}"
    sums = sum(b.cost.params for b in blocks), sum(b.cost.macs for b in blocks), max(b.cost.peak_mib for b in blocks)
    assert (found.params, found.macs, found.peak_mib) == sums, f"{where}: its blocks do not add up"
    joined = [b.out_shape for b in blocks[:-1]] == [b.in_shape for b in blocks[1:]]
    assert joined, f"{where}: a block's input shape is not the output shape of the one before it"


def _check_anchors(space: SearchSpace) -> None:
    for name, stated in {**space.anchors, **space.other_anchors}.items():
        genotype = anchor(name).genotype.at_stride(space.overall_stride).at(space.input)
        try:
            genes, found = space.encode(genotype), "inside"
        except InputError as error:
            genes, found = {}, str(error)
        where = f"space {space.name}: its file says of the anchor {name}: {stated}"
        assert found.startswith(stated), f"{where}; it is not: {found}"
        assert found != "inside" or space.decode(genes) == genotype, f"{where}; its genes decode to another network"
