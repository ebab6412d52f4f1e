"""Search spaces: each passes its suite; inputs, padding, sizes, anchors at each input, and YAML errors."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.testing import check_space
from search_spaces.anchor import anchor, anchors
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space, space_names
from search_spaces.task import Task

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


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_every_space_is_what_a_search_needs(name):
    check_space(name)


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6))
def test_the_same_genes_are_the_same_blocks_padded_in_either_way(name, seed):
    symmetric, same = SPACES[name], replace(SPACES[name], padding="same")
    genotype = symmetric.sample(random.Random(seed))
    padded = same.decode(symmetric.encode(genotype))
    assert padded == genotype.padded("same") and same.encode(padded) == symmetric.encode(genotype)
    assert padded.padded("symmetric") == genotype and padded.input == genotype.input
    strided = [spec for spec in padded.blocks if spec.stride > 1 and spec.kind in ("conv", "inverted_residual", "fused")]
    assert all(spec.knob("padding") == "same" for spec in strided) and (padded != genotype or not strided)
    if strided:
        with pytest.raises(InputError, match="padding"):
            symmetric.encode(padded)
        with pytest.raises(InputError, match="padding: its strided blocks must have the space's padding, same"):
            same.encode(genotype)


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
    assert space.size >= 10**15
    assert space.inputs == tuple((3, side, side) for side in (96, 128, 160, 192, 224)) and space.input == (3, 224, 224)
    kinds = {kind for stage in space.stages for kind in stage.kinds}
    assert {"conv", "inverted_residual", "fused", "shuffle", "eesp", "csc", "fe", "head"} <= kinds
    for name in ("mobilenet_v2", "mobilenet_v3", "shufflenet_v2"):
        assert space.anchors[name] == "inside"


@pytest.mark.parametrize(
    ("given", "inputs", "gene"),
    [
        ("[3, 16, 16]", [(3, 16, 16)], None),
        ("[1, 16, 24]", [(1, 16, 24)], None),
        ("{channels: 3, size: 16}", [(3, 16, 16)], None),
        ("{channels: 3, size: 160x96}", [(3, 160, 96)], None),
        ("{channels: 3, size: [16]}", [(3, 16, 16)], None),
        ("{channels: 1, size: [28, 16]}", [(1, 16, 16), (1, 28, 28)], (16, 28)),
        (
            "{channels: 3, size: [224, 96x160, 96, 160x96, 128]}",
            [(3, 96, 96), (3, 96, 160), (3, 160, 96), (3, 128, 128), (3, 224, 224)],
            (96, "96x160", "160x96", 128, 224),
        ),
    ],
)
def test_inputs_as_a_file_gives_them(tmp_path, given, inputs, gene):
    space = _load(tmp_path, GOOD.replace("[3, 16, 16]", given))
    assert list(space.inputs) == inputs and space.genes.get("input") == gene
    assert space.input == inputs[-1] and space.task(5) == Task(inputs[-1], 5)
    met = {space.sample(random.Random(seed)).input for seed in range(60)}
    assert met == set(inputs)
    for input, value in zip(inputs, gene or [None], strict=True):
        genotype = space.sample(random.Random(1)).at(input)
        assert space.encode(genotype).get("input") == value and space.decode(space.encode(genotype)) == genotype


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[3, 16]", "input must be [channels, height, width], or {channels: 3, size: [96, 128]}, not [3, 16]"),
        ("[3, 16, 16.5]", "input: channels, heights and widths must be whole numbers, not 16.5"),
        ("[3, yes, 16]", "input: channels, heights and widths must be whole numbers, not True"),
        ('[3, "16", 16]', 'input: channels, heights and widths must be whole numbers, not "16"'),
        ("[2, 16, 16]", "an input has 3 channels (RGB) or 1 (grey), not 2"),
        ("[3, 0, 16]", "an input is 8 to 4096 pixels high and wide, not 0x16"),
        ("{channels: 4, size: 16}", "an input has 3 channels (RGB) or 1 (grey), not 4"),
        ("{channels: RGB, size: 16}", 'input: channels must be a whole number, not "RGB"'),
        ("{channels: 3, size: [16, 4]}", "an input is 8 to 4096 pixels high and wide, not 4x4"),
        ("{channels: 3, size: 99999x16}", "an input is 8 to 4096 pixels high and wide, not 99999x16"),
        ("{channels: 3, size: []}", "input: size must have 1 or more values, not []"),
        ("{channels: 3, size: [16, 24, 16x16]}", "input: a size is listed twice"),
        ("{channels: 3, size: [16, 24.5]}", 'input: size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not "24.5"'),
        ("{channels: 3, size: yes}", 'input: size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not "True"'),
        ("{channels: 3, size: 16 x 24}", 'input: size must be a side or HEIGHTxWIDTH, such as 224 or 96x160, not "16 x 24"'),
        ("{channels: 3, size: [[16, 24]]}", "input: size must be a side or HEIGHTxWIDTH"),
        ("{channels: 3, size: }", 'not "None"'),
        ("{channels: 3, sizes: 16}", 'input: unknown key "sizes"; did you mean "size"'),
        ("{size: 16}", "input"),
        ("RGB", "input must be"),
    ],
)
def test_a_wrong_input_is_said_in_one_message(tmp_path, given, message):
    with pytest.raises(InputError) as error:
        _load(tmp_path, GOOD.replace("[3, 16, 16]", given))
    assert message in str(error.value) and "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_an_input_that_the_space_does_not_have_is_named(tmp_path):
    space = _load(tmp_path, GOOD.replace("[3, 16, 16]", "{channels: 3, size: [16, 16x24]}"))
    genotype = space.sample(random.Random(0))
    with pytest.raises(InputError, match="input: 3x24x16 is not among 3x16x16, 3x16x24"):
        space.encode(genotype.at((3, 24, 16)))
    with pytest.raises(InputError, match="input: none is not among 3x16x16, 3x16x24"):
        space.encode(Genotype(genotype.blocks))
    with pytest.raises(InputError, match="input: 24x16 is not among 16, 16x24"):
        space.decode({"input": "24x16"})


def names(space, anchor_name):
    return [a.name for a in space.reference_networks() if a.name.partition("@")[0] == anchor_name]


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_hand_designed_networks_stand_at_every_input_up_to_their_own(padding):
    space = replace(SPACES["mobile"].with_anchors(["mobilenet_v1:0.5-160-tf", "shift_resnet"]), padding=padding)
    found = {a.name: a for a in space.reference_networks()}
    assert len(found) == len(space.reference_networks())
    assert names(space, "mobilenet_v2") == [f"mobilenet_v2@{side}" for side in (96, 128, 160, 192, 224)]
    assert names(space, "mobilenet_v1:0.5-160-tf") == [f"mobilenet_v1:0.5-160-tf@{side}" for side in (96, 128, 160)]
    assert names(space, "shift_resnet") == ["shift_resnet@96"], "published at 32x32: the smallest that there is"
    for name, known in found.items():
        stem, _, side = name.partition("@")
        original = anchor(stem).genotype.at_stride(space.overall_stride)
        assert known.genotype.input == (3, int(side), int(side)) and known.task == anchor(stem).task
        assert known.genotype.blocks == (original.padded("same") if padding == "same" else original).blocks


def test_of_one_input_a_name_says_no_size_and_of_rectangles_both_sides():
    space = SPACES["tiny"]
    assert [a.name for a in space.reference_networks()] == list(space.anchors)
    assert all(a.genotype.input == (3, 32, 32) for a in space.reference_networks())
    wide = replace(SPACES["mobile"], inputs=((3, 96, 160), (3, 224, 224), (3, 224, 320)))
    assert names(wide, "mobilenet_v2") == ["mobilenet_v2@96x160", "mobilenet_v2@224"]
    grey = replace(SPACES["mobile"], inputs=((1, 28, 28), (1, 96, 96)))
    assert {a.genotype.input for a in grey.reference_networks()} == {(1, 28, 28), (1, 96, 96)}


@pytest.mark.parametrize("given", ["[3, 16, 16]", "{channels: 1, size: [8, 16x8, 16]}"])
def test_size_counts_exactly_the_different_genotypes(tmp_path, given):
    space = _load(tmp_path, GOOD.replace("[3, 16, 16]", given))
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
        ("summary: a small one", "sumary: a small one", 'the space: unknown key "sumary"; did you mean "summary"'),
        ("input: [3, 16, 16]", "input: 16", "input must be"),
        ("name: body", "nam: body", 'stage 2: unknown key "nam"; did you mean "name"'),
        ("shuffle: {}", "shufle: {}", 'stage body: there is no block "shufle"; did you mean "shuffle"'),
        ("kernel: [3, 5]", "kernl: [3, 5]", 'stage body: block inverted_residual has no knob "kernl"; did you mean "kernel"'),
        ("kernel: [3, 5]", "kernel: [3, 4]", "kernel takes one of 0, 3, 5, 7, not 4"),
        ("kernel: [3, 5]", "kernel: [3, 3]", "kernel: a value is listed twice"),
        ("kernel: [3, 5]", "kernel: []", "knob kernel: a list has 1 to 100 values to choose from, not 0"),
        ("each: [1, 2]", "ech: [1, 2]", 'did you mean "each"'),
        ("each: [1, 2]", "each: [1, two]", 'expand takes a number, not "two"'),
        ("depth: [0, 1, 2]", "depth: [0, 1.5]", "stage body: depth[1] must be a whole number, not 1.5"),
        ("width: [8, 12]", "width: [8, 8]", "stage body: width: a value is listed twice"),
        ("width: [8, 12]", "width: 1e6", 'stage body: width[0] must be a whole number, not "1e6"'),
        ("stride: 2", "stride: 3", "stage stem: stride must be at most 2, not 3"),
        ("name: body", "name: stem", "two stages have the same name"),
        ("name: body", "name: input", 'or one is called "input"'),
        ("summary: a small one", "summary: a\nsummary: b", 'line 3, column 1: key "summary" is given twice'),
        ("input: [3, 16, 16]", "input: [3, 16", "line "),
        ("  - {name: head, blocks: {head: {dropout: [0, 0.2]}}}", "", "the last stage must be the head"),
        ("name: head, ", "name: head, depth: 2, ", "the last stage must be the head, once, and no other stage may have one"),
        (
            "name: head, ",
            "name: head, depth: [0, 1], ",
            "the last stage must be the head, once, and no other stage may have one",
        ),
        ("shuffle: {}", "head: {}", "the last stage must be the head, once, and no other stage may have one"),
        ("blocks: {head:", "width: 8, blocks: {shuffle: {}, head:", "the last stage must be the head"),
        ("name: head, ", "name: head, stride: 2, ", "stage head: the stride of block head must be 1, not 2"),
        ("shuffle: {}", "add: {}", "stage body: block add has branches, which stages do not support"),
        ("depth: [0, 1, 2]", "depth: 1000000000", "stage body: depth[0] must be at most 1000, not 1000000000"),
        ("depth: [0, 1, 2]", "depth: [0, 999]", "its networks have up to 1001 blocks; the maximum is 1000"),
        ("depth: [0, 1, 2]", "depth: 0", "stage body: depth: at least one depth must be above 0"),
        ("depth: [0, 1, 2]", "depth: []", "stage body: depth must have 1 or more values, not []"),
        ("depth: [0, 1, 2]", "depth: {each: 3}", "stage body: depth[0] must be a whole number"),
        ("width: [8, 12]", "width: 65537", "stage body: width[0] must be at most 65536, not 65537"),
        ("width: [8, 12]", "width: yes", "stage body: width[0] must be a whole number, not True"),
        ("width: [8, 12]", "{}", "line "),
        ("name: body", "name: [body]", "stage ['body']: name must be text, not ['body']"),
        ("name: body", "name: body.x", "name must be letters, digits, - and _, at most 40, not"),
        ("summary: a small one", "summary: [a]", "the space: summary must be text, not ['a']"),
        ("summary: a small one", "summary: a\noverall_stride: abc", 'overall_stride must be a whole number, not "abc"'),
        ("summary: a small one", "summary: a\noverall_stride: 0", "overall_stride must be at least 1, not 0"),
        ("summary: a small one", "summary: a\nanchors: 7", "anchors must map keys to values, not 7"),
        ("summary: a small one", "summary: a\nanchors: {mobilenet_v2: 7}", "anchors.mobilenet_v2 must be text, not 7"),
        (
            "summary: a small one",
            "summary: a\nanchors: {mobilenet_v9: inside}",
            'there is no anchor "mobilenet_v9"; did you mean',
        ),
        ("conv: {act: [relu, relu6]}", "1: {}", 'there is no block "1"'),
        ("conv: {act: [relu, relu6]}", "conv: {1: 2}", 'block conv has no knob "1"'),
        ("conv: {act: [relu, relu6]}", "conv: {act: [[relu]]}", "act takes one of"),
        ("conv: {act: [relu, relu6]}", "conv: {act: {each: {each: relu}}}", "act takes one of"),
        ("conv: {act: [relu, relu6]}", "conv: 5", "blocks.conv must map keys to values, not 5"),
        ("input: [3, 16, 16]", "input: [3, 16, 16", "line "),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_message(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        _load(tmp_path, GOOD.replace(old, new, 1))
    assert message in str(error.value) and "mine.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_stages_that_shrink_images_away_are_refused(tmp_path):
    stages = "".join(f"  - {{name: s{i}, width: 8, stride: 2, blocks: {{shuffle: {{}}}}}}\n" for i in range(4))
    with pytest.raises(InputError, match="its overall stride is 32, but its smallest input has a side of 16 pixels"):
        _load(tmp_path, GOOD.replace("  - name: body", stages + "  - name: body"))
    many = "".join(f"  - {{name: s{i}, width: 8, blocks: {{shuffle: {{}}}}}}\n" for i in range(20_000))
    with pytest.raises(InputError, match="stages must have 100 or fewer values"):
        _load(tmp_path, GOOD.replace("  - name: body", many[: 2**19].rpartition("  -")[0] + "  - name: body"))


def test_a_network_that_fits_in_very_many_ways_or_in_none_is_told_at_once(tmp_path):
    stages = "".join(f"  - {{name: s{i}, width: 8, depth: [0, 1, 2], blocks: {{shuffle: {{}}}}}}\n" for i in range(60))
    space = _load(tmp_path, GOOD.replace("  - name: body", stages + "  - name: body"))
    text = "input 3x16x16\nconv 8/2\nshuffle 8/1 x70\nshuffle 16/1\nhead"
    with pytest.raises(InputError, match=r"width: 16 is not among"):
        space.encode(Genotype.parse(text))
    assert space.encode(Genotype.parse(text.replace("shuffle 16/1", "shuffle 12/1")))["body.width"] == 12


def test_unknown_space_names_the_near_miss():
    with pytest.raises(InputError, match='did you mean "mobile"'):
        load_space("mobil")
    with pytest.raises(InputError, match="no search space file"):
        load_space("nowhere/space.yaml")
