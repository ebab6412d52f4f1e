"""Genotype text: printing and parsing undo each other, wrong text is answered for a person."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype, read_genotype
from search_spaces.registry import Knob, Value, block_kind, block_kinds, show
from search_spaces.task import Input, Task

HEADS = [name for name, kind in block_kinds().items() if "classes" in kind.takes]
BRANCHED = [name for name, kind in block_kinds().items() if kind.has_branches]
BODIES = [name for name in block_kinds() if name not in HEADS + BRANCHED]
quick = settings(max_examples=200, deadline=None, derandomize=True)


def knob_values(knob: Knob) -> st.SearchStrategy[Value]:
    if knob.choices:
        return st.sampled_from(knob.choices)
    numbers = st.floats(-1e9, 1e9) | st.integers(-100, 100).map(lambda n: n / 4)
    return {bool: st.booleans(), int: st.integers(-1000, 10**6), float: numbers}[knob.type]


@st.composite
def specs(draw: st.DrawFn, names: list[str], strides: tuple[int, ...] = (1, 2, 4), depth: int = 3) -> BlockSpec:
    kind = block_kind(draw(st.sampled_from(names)))
    width = draw(st.integers(1, 65536)) if kind.has_width else None
    stride = draw(st.sampled_from([s for s in kind.strides if s in strides]))
    knobs = draw(st.fixed_dictionaries({}, optional={n: knob_values(k) for n, k in kind.knobs.items()}))
    branches = draw(st.lists(rows(depth), min_size=1, max_size=3)) if kind.has_branches else []
    return BlockSpec.make(kind.name, width, stride, knobs, branches)


def rows(depth: int) -> st.SearchStrategy[list[BlockSpec]]:
    """Branches of stride 1, with branches in them now and then, `depth` deep at most."""
    inner = specs(BODIES, (1,)) | specs(BODIES, (1,))
    return st.lists(inner | specs(BRANCHED, (1,), depth - 1) if depth else inner, max_size=2)


sides = st.integers(8, 4096)
inputs = st.tuples(st.sampled_from([1, 3]), sides, sides)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    runs = draw(st.lists(st.tuples(specs(BODIES) | specs(BRANCHED), st.integers(1, 4)), max_size=6))
    return Genotype.of([*(spec for spec, n in runs for _ in range(n)), draw(specs(HEADS))], draw(st.none() | inputs))


def every_block(blocks: Sequence[BlockSpec]) -> Iterator[BlockSpec]:
    for block in blocks:
        yield block
        for branch in block.branches:
            yield from every_block(branch)


@quick
@given(genotypes())
def test_parsing_undoes_printing(genotype: Genotype) -> None:
    again = Genotype.parse(genotype.text)
    assert again == genotype
    assert again.text == genotype.text and again.id == genotype.id


@quick
@given(genotypes(), genotypes())
def test_equal_text_is_equal_network(one: Genotype, other: Genotype) -> None:
    assert (one.text == other.text) == (one == other) == (one.id == other.id)


@quick
@given(genotypes())
def test_canonical_text_leaves_defaults_out_and_joins_runs(genotype: Genotype) -> None:
    lines = sum(len(spec.text.splitlines()) for spec, _ in groupby(genotype.blocks))
    assert len(genotype.text.splitlines()) == lines + (genotype.input is not None)
    for block in every_block(genotype.blocks):
        defaults = {n: show(k.default) for n, k in block_kind(block.kind).knobs.items()}
        written = dict(word.split("=") for word in block.line.split() if "=" in word)
        assert all(value != defaults[name] for name, value in written.items())
        assert list(written) == [name for name in defaults if name in written]


@quick
@given(genotypes())
def test_written_out_defaults_runs_comments_and_blanks_change_nothing(genotype: Genotype) -> None:
    def long_form(block: BlockSpec, indent: str = "") -> Iterator[str]:
        size = [] if block.branches else [f"{block.width or ''}/{block.stride}"]
        yield indent + " ".join([block.kind, *size, *(f"{n}={show(v)}" for n, v in block.arguments().items()), "x1  # said"])
        for branch in block.branches:
            yield indent + "   |  # a branch"
            for inner in branch:
                yield from long_form(inner, indent + "     ")

    lines = [line for block in genotype.blocks for line in long_form(block)]
    opening = ["  input  " + "x".join(f"0{n}" for n in genotype.input) + " # pixels"] if genotype.input else []
    assert Genotype.parse("# net\n\n" + "\n \n".join(opening + lines)) == genotype


@settings(quick, max_examples=60)
@given(genotypes(), inputs, inputs)
def test_the_input_is_part_of_the_network(genotype: Genotype, one: Input, other: Input) -> None:
    at_one, at_other, open_ = genotype.at(one), genotype.at(other), Genotype(genotype.blocks)
    assert at_one.text == f"input {one[0]}x{one[1]}x{one[2]}\n" + open_.text
    assert Genotype.parse(at_one.text) == at_one and Genotype.parse(open_.text).input is None
    assert len({g.id for g in (at_one, at_other, open_)}) == len({at_one, at_other, open_}) == (2 if one == other else 3)
    assert at_one.at(other) == at_other and at_one.at_stride(1).input == at_one.padded("same").input == one
    assert at_one.task(7) == Task(one, 7) == Task(other, 7).of(at_one) and Task(other, 7).of(open_) == Task(other, 7)


def test_a_network_that_names_no_input_cannot_say_what_it_is_built_for() -> None:
    with pytest.raises(InputError, match="has no input; add a first line such as `input 3x224x224`"):
        Genotype.parse("head").task(10)
    for wrong, message in (((3, 7, 32), "8 to 4096 pixels"), ((4, 32, 32), r"3 channels \(RGB\) or 1 \(grey\), not 4")):
        with pytest.raises(InputError, match=message):
            Genotype.parse("head").at(wrong)


RESIDUAL = "add act=relu x2\n  | conv 8/1\n    concat\n      | conv 4/1 x2\n      |\n  |\n"


def test_branches_as_written() -> None:
    genotype = Genotype.parse(RESIDUAL + "head")
    first, second, _ = genotype.blocks
    assert first == second and [len(branch) for branch in first.branches] == [2, 0]
    assert [spec.line for spec in every_block([first])] == ["add act=relu", "conv 8/1", "concat", "conv 4/1", "conv 4/1"]
    assert genotype.text == RESIDUAL + "head\n"
    assert first.branches[0][1].out_width(8) == 12


def test_a_strided_block_with_branches_loses_its_strides_as_a_whole() -> None:
    genotype = Genotype.parse("add\n  | conv 8/2\n  | max_pool /2\nhead")
    assert genotype.blocks[0].stride == 2
    assert genotype.at_stride(1).text == "add\n  | conv 8/1\n  | max_pool /1\nhead\n"


def test_canonical_text() -> None:
    text = "conv 32 kernel=3 #\nmax_pool /2\nshuffle 24/1 act=relu kernel=5 x2\nshuffle 24 kernel=05\nhead dropout=.2"
    assert Genotype.parse(text).text == "conv 32/1\nmax_pool /2\nshuffle 24/1 kernel=5 x3\nhead dropout=0.2\n"


MALFORMED = {
    "convv 8/1": 'there is no block "convv"; did you mean "conv"?',
    "conv": "block conv needs a width",
    "conv /2": "block conv needs a width",
    "conv 0/1": "width of block conv must be 1 to 65536, not 0",
    "conv 99999/1": "width of block conv must be 1 to 65536, not 99999",
    "conv 8/3": "stride of block conv must be 1 or 2 or 4, not 3",
    "inverted_residual 8/0": "stride of block inverted_residual must be 1 or 2, not 0",
    "conv -8/1": '"-8/1" is not width/stride, such as 24/2',
    "conv 8/": '"8/" is not width/stride, such as 24/2',
    "conv 8 / 1": '"/" is not knob=value',
    "conv 8/1 kernel": '"kernel" is not knob=value',
    "conv 8/1 kernle=3": 'block conv has no knob "kernle"; did you mean "kernel"?',
    "conv 8/1 kernel=4": "kernel takes one of 1, 3, 5, 7, 11, not 4",
    "conv 8/1 kernel=three": 'kernel takes one of 1, 3, 5, 7, 11, not "three"',
    "conv 8/1 kernel=3 kernel=5": "knob kernel is given twice",
    "conv 8/1 act=relu7": 'did you mean "relu',
    "conv 8/1 x0": "a line can be repeated 1 to 1000 times, not 0",
    "conv 8/1 x1001": "a line can be repeated 1 to 1000 times, not 1001",
    "conv 8/1 x2 kernel=3": '"x2" is not knob=value',
    "max_pool 8/2": "block max_pool takes no width",
    "inverted_residual 8/1 residual=true": 'residual takes yes or no, not "true"',
    "inverted_residual 8/1 expand=six": 'expand takes a number, not "six"',
    "inverted_residual 8/1 expand=nan": "expand takes a number",
    "inverted_residual 8/1 expand=inf": "expand takes a number",
    "head /2": "stride of block head must be 1, not 2",
    f"conv {'9' * 5000}/1": "width",
    f"conv 8/1 x{'9' * 5000}": "repeated 1 to 1000 times",
}


@pytest.mark.parametrize("line", MALFORMED, ids=lambda line: line[:40])
def test_a_wrong_line_is_named_with_what_would_be_right(line: str, tmp_path: Path) -> None:
    path = tmp_path / "net.txt"
    path.write_text(f"conv 16/2\n{line}\nhead\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_genotype(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert MALFORMED[line] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no blocks"),
        ("# only words\n", "no blocks"),
        ("conv 8/1", "has one head, its last block; found none"),
        ("head\nhead", "has one head, its last block; found 2, at block 1, 2"),
        ("head\nconv 8/1", "has one head, its last block; found 1, at block 1"),
        ("conv 8/1 x999\nconv 8/1 x2\nhead", "line 2: more than 1000 blocks"),
        ("add x400\n  | conv 8/1 x2\n  |\nhead", "line 2: more than 1000 blocks"),
        ("add\n" + "  |\n" * 1000 + "head", "line 1: more than 1000 blocks, including branches"),
        ("add\n" + "  |\n" * 100_000 + "head", "line 1002: more than 1000 blocks, including branches"),
        ("add\n  " + "|" * 200_000 + "\nhead", 'line 2: there is no block "||||'),
        ("add\n  " + "| " * 200_000 + "\nhead", 'line 2: there is no block "|"'),
        ("add\n" + "\n".join(" " * i + "|" for i in range(1, 1400)) + "\nhead", "line 3: a branch starts with |"),
        ("x" * 2**21, "longer than 1048576 characters"),
        ("head\n" * 1000, "found 1000, at block 1, 2, 3"),
        ("conv 8/1 " + "kernel=3" * 100_000 + "\nhead", "line 1: kernel takes one of"),
        ("a" * 1_000_000, 'line 1: there is no block "aaaa'),
        ("add\nhead", "line 1: block add needs branches below it"),
        ("conv 8/1\n  | conv 8/1\nhead", "line 2: a branch starts with |"),
        ("| conv 8/1\nhead", "line 1: a branch starts with |"),
        ("add\n|\n|\nhead", "line 1: block add needs branches below it"),
        ("add\n  | conv 8/1\n    | conv 8/1\nhead", "line 3: a branch starts with |"),
        ("add\n  | convv 8/1\n  |\nhead", 'line 2: there is no block "convv"'),
        ("add\n  | conv 8/2\n  | conv 8/1\nhead", "line 1: the branches of block add have strides 2 and 1"),
        ("input\nhead", 'line 1: "" is not an input, channels x height x width, such as 3x224x224'),
        ("input 224\nhead", 'line 1: "224" is not an input'),
        ("input 3x32\nhead", 'line 1: "3x32" is not an input'),
        ("input 3x32x32x32\nhead", 'line 1: "3x32x32x32" is not an input'),
        ("input 3 x 32 x 32\nhead", 'line 1: "3 x 32 x 32" is not an input'),
        ("input 3x-32x32\nhead", 'line 1: "3x-32x32" is not an input'),
        ("input 3x32x32 x2\nhead", 'line 1: "3x32x32 x2" is not an input'),
        ("input size=32\nhead", 'line 1: "size=32" is not an input'),
        (f"input 3x{'9' * 5000}x9\nhead", "is not an input"),
        ("input 3x0x5\nhead", "line 1: an input is 8 to 4096 pixels high and wide, not 0x5"),
        ("input 3x99999x9\nhead", "line 1: an input is 8 to 4096 pixels high and wide, not 99999x9"),
        ("# net\n\ninput 2x32x32\nhead", "line 3: an input has 3 channels (RGB) or 1 (grey), not 2"),
        ("conv 8/1\ninput 3x32x32\nhead", "line 2: the input may be given only once, on the first line"),
        ("input 3x32x32\ninput 3x32x32\nhead", "line 2: the input may be given only once, on the first line"),
        ("head\ninput 3x32x32", "line 2: the input may be given only once, on the first line"),
        ("add\n  | input 3x32x32\n    conv 8/1\n  |\nhead", "line 2: the input may be given only once, on the first line"),
        ("| input 3x32x32\nhead", "line 1: a branch starts with |"),
        ("input 3x32x32\n  | conv 8/1\nhead", "line 2: a branch starts with |"),
        ("input 3x32x32", "no blocks"),
        ("add\n  | head\n  |\nhead", "line 1: a branch of block add contains a head"),
        ("add 8/1\n  |\n  |\nhead", "line 1: block add takes no width"),
        ("".join(f"{'  ' * i}add\n{'  ' * i} |\n{'  ' * i} |\n" for i in range(9)) + "head", "more than 8 deep"),
    ],
)
def test_a_wrong_whole_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Genotype.parse(text, "net.txt")
    assert str(caught.value).startswith("net.txt") and message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, message in (
        ("missing", "there is no genotype file"),
        ("binary", "not a text file in UTF-8"),
        (".", "there is no genotype file"),
    ):
        with pytest.raises(InputError, match=message):
            read_genotype(tmp_path / name)


words = st.sampled_from(
    [
        *block_kinds(),
        "input",
        "3x32x32",
        "8/1",
        "/2",
        "8",
        "kernel=3",
        "se=1e3",
        "act=relu",
        "groups=-1",
        "x3",
        "#",
        "=",
        "|",
        "  ",
    ]
)


@quick
@given(st.lists(st.lists(words | st.text(max_size=6), max_size=5), max_size=4))
def test_any_text_is_a_genotype_or_one_input_error(lines: list[list[str]]) -> None:
    text = "\n".join(" ".join(line) for line in lines)
    try:
        Genotype.parse(text, "net.txt")
    except InputError as error:
        assert str(error).startswith("net.txt") and len(str(error).splitlines()) == 1
