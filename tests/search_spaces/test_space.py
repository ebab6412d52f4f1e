"""Search spaces: decode and encode, sample and count, the anchors inside, and YAML errors."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.anchor import anchor, anchors
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space import load_space, space_names

SPACES = {name: load_space(name) for name in space_names()}
GOOD = """
summary: a small one
input: [3, 16, 16]
stages:
  - {name: stem, width: [4, 8], stride: 2, blocks: {conv: {act: [relu, relu6]}}}
  - name: body
    width: [8, 12]
    depth: [0, 1, 2]
    blocks:
      inverted_residual: {kernel: [3, 5], expand: {each: [1, 2]}}
      shuffle: {}
      max_pool: {}
  - {name: head, blocks: {head: {dropout: [0, 0.2]}}}
"""


def _load(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_space(str(path))


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6))
def test_every_genotype_encodes_to_genes_that_decode_to_it(name, seed):
    space = SPACES[name]
    genotype = space.sample(random.Random(seed))
    genes = space.encode(genotype)
    assert set(genes) <= set(space.genes)
    assert space.decode(genes) == genotype
    assert Genotype.parse(genotype.text) == genotype


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6))
def test_silent_genes_change_nothing(name, seed):
    space, rng = SPACES[name], random.Random(seed)
    table = {gene: rng.choice(values) for gene, values in space.genes.items()}
    read = []
    genotype = space.decode(lambda gene, _: read.append(gene) or table[gene])
    noise = {gene: rng.choice(values) if gene not in read else table[gene] for gene, values in space.genes.items()}
    assert space.decode(noise) == genotype


@pytest.mark.parametrize("name", SPACES)
def test_every_sampled_genotype_builds(name):
    import torch

    space, rng = SPACES[name], random.Random(1)
    with torch.device("meta"):
        for _ in range(20):
            task = space.task(7)
            network = build(space.sample(rng), task).eval()
            assert network(torch.empty(2, *task.input)).shape == (2, 7)


@pytest.mark.parametrize("name", SPACES)
def test_the_file_says_truly_which_anchors_are_inside_and_which_gene_excludes_the_others(name):
    space = SPACES[name]
    assert space.anchors
    for anchor_name, where in {**space.anchors, **space.other_anchors}.items():
        genotype = anchor(anchor_name).genotype.at_stride(space.overall_stride).at(space.input)
        if where == "inside":
            assert space.decode(space.encode(genotype)) == genotype
        else:
            with pytest.raises(InputError) as error:
                space.encode(genotype)
            assert str(error.value).startswith(where)


@pytest.mark.parametrize("name", SPACES)
def test_every_compact_anchor_is_stated(name):
    stated = {anchor(a).genotype for a in {**SPACES[name].anchors, **SPACES[name].other_anchors}}
    assert {a.genotype for a in anchors() if a.compact} <= stated


def test_a_space_takes_further_anchors():
    space = SPACES["mobile"].with_anchors(["mobilenet_v2:0.75", "mobilenet_v2"])
    assert space.anchors == {**SPACES["mobile"].anchors, "mobilenet_v2:0.75": "s3.width"}
    with pytest.raises(InputError, match="did you mean"):
        space.with_anchors(["mobilenet_v9"])


def test_mobile_is_large_and_holds_every_block():
    space = SPACES["mobile"]
    assert space.size >= 10**15 and space.input == (3, 224, 224)
    kinds = {kind for stage in space.stages for kind in stage.kinds}
    assert {"conv", "inverted_residual", "fused", "shuffle", "eesp", "csc", "fe", "head"} <= kinds
    for name in ("mobilenet_v2", "mobilenet_v3", "shufflenet_v2"):
        assert space.anchors[name] == "inside"


def test_size_counts_exactly_the_different_genotypes(tmp_path):
    space = _load(tmp_path, GOOD)
    tables = itertools.product(*space.genes.values())
    assert space.size == len({space.decode(dict(zip(space.genes, values, strict=True))) for values in tables})


def test_strides_are_removed_from_the_front():
    genotype = anchor("mobilenet_v2").genotype.at_stride(8)
    assert [b.stride for b in genotype.blocks if b.stride > 1] == [2, 2, 2]
    assert genotype.blocks[0].stride == 1 and genotype.at_stride(8) == genotype
    assert anchor("mobilenet_v2").genotype.at_stride(32) == anchor("mobilenet_v2").genotype


def test_decoding_names_a_missing_or_foreign_gene(tmp_path):
    space = _load(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"gene stem\.width is missing"):
        space.decode({})
    with pytest.raises(InputError, match=r"stem\.width: 5 is not among 4, 8"):
        space.decode({"stem.width": 5})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("summary: a small one", "sumary: a small one", 'unknown key "sumary"; did you mean "summary"'),
        ("input: [3, 16, 16]", "input: 16", "input must be"),
        ("name: body", "nam: body", 'stage 2 has an unknown key "nam"; did you mean "name"'),
        ("shuffle: {}", "shufle: {}", 'stage body: there is no block "shufle"; did you mean "shuffle"'),
        ("kernel: [3, 5]", "kernl: [3, 5]", 'stage body: block inverted_residual has no knob "kernl"; did you mean "kernel"'),
        ("kernel: [3, 5]", "kernel: [3, 4]", "kernel takes one of 0, 3, 5, 7, not 4"),
        ("kernel: [3, 5]", "kernel: [3, 3]", "kernel: a value is listed twice"),
        ("kernel: [3, 5]", "kernel: []", "nothing to choose"),
        ("each: [1, 2]", "ech: [1, 2]", 'did you mean "each"'),
        ("each: [1, 2]", "each: [1, two]", 'expand takes a number, not "two"'),
        ("depth: [0, 1, 2]", "depth: [0, 1.5]", "stage body, depth must be"),
        ("width: [8, 12]", "width: [8, 8]", "stage body, width must be"),
        ("width: [8, 12]", "width: 1e6", "stage body, width must be"),
        ("stride: 2", "stride: 3", "stage stem: stride must be 1 or 2"),
        ("name: body", "name: stem", "two stages have the same name"),
        ("summary: a small one", "summary: a\nsummary: b", 'line 3, column 1: key "summary" is given twice'),
        ("input: [3, 16, 16]", "input: [3, 16", "line "),
        ("  - {name: head, blocks: {head: {dropout: [0, 0.2]}}}", "", "the last stage must be the head"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_message(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        _load(tmp_path, GOOD.replace(old, new, 1))
    assert message in str(error.value) and "mine.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_space_names_the_near_miss():
    with pytest.raises(InputError, match='did you mean "mobile"'):
        load_space("mobil")
    with pytest.raises(InputError, match="no search space file"):
        load_space("nowhere/space.yaml")
