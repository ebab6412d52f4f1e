"""YAML of users: read as what JSON has too, within limits; anything else is refused in one message with its place."""

import itertools

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import resources
from search_spaces.errors import InputError
from search_spaces.resources import parse_yaml, read_text
from search_spaces.space_file import load_space

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | TEXT
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)


@given(data=st.dictionaries(TEXT, PLAIN, max_size=4))
def test_what_yaml_writes_is_read_again(data):
    assert parse_yaml(yaml.safe_dump(data, allow_unicode=True), "x") == data


def test_keys_are_text_dates_too_and_merges_are_read():
    text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\nboth: {<<: [*base, {c: 4}]}\n1: x\nyes: y\nwhen: 2001-99-99\n"
    found = parse_yaml(text, "x")
    assert found["own"] == {"a": 1, "b": 3} and found["both"] == {"a": 1, "b": 2, "c": 4}
    assert found["1"] == "x" and found["yes"] == "y" and found["when"] == "2001-99-99"


def test_a_mapping_that_is_merged_before_it_is_made_has_no_key_twice():
    text = "base: &base {a: 1}\nx: {deep: {deeper: &own {<<: *base, a: 2}}}\ny: {<<: *own}\n"
    assert parse_yaml(text, "x")["y"] == {"a": 2} == parse_yaml(text, "x")["x"]["deep"]["deeper"]
    assert list(parse_yaml("b: {y: 1, x: 2}\nm: {<<: *b, z: 3, x: 4}".replace("b: {", "b: &b {"), "x")["m"].items()) == [
        ("y", 1),
        ("x", 4),
        ("z", 3),
    ]


def laughs(times: int, letters: str = "abcdefgh") -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{n}: &{n} [{', '.join([f'*{before}'] * times)}]" for before, n in itertools.pairwise(letters)]
    return "\n".join(lines)


REFUSED = {
    "unhashable key": ("? [a]\n: 1", "line 1, column 3: a key must be text"),
    "key that is a mapping": ("{{a: 1}: 2}", "a key must be text"),
    "key twice": ("a: 1\nb: 2\na: 3", 'line 3, column 1: key "a" is given twice'),
    "key twice as text and number": ("1: 1\n'1': 3", 'key "1" is given twice'),
    "tag": ("a: !!int x", "is not a number"),
    "tag of Python": ("a: !!python/object/apply:os.system [ls]", "python/object/apply:os.system"),
    "tag of bytes": ("a: !!binary x", "is not supported"),
    "own tag": ("a: !mine x", 'the tag "!mine" is not supported'),
    "no number": ("a: 0x_", "is not a number"),
    "long number": ("a: " + "9" * 4300, "a number of 4300 digits"),
    "long float": ("a: 1." + "9" * 4300, "a number of 4302 digits"),
    "deep list": ("a: " + "[" * 500 + "]" * 500, "nested more than 20 deep"),
    "very deep list": ("a: " + "[" * 100_000, "line 1"),
    "deep block": ("- " * 500 + "a", "nested more than 20 deep"),
    "billion laughs": (laughs(10), "more than 100000 values"),
    "a loop": ("a: &a [*a]", "nested more than 20 deep"),
    "many values": ("a: [" + "1," * 100_001 + "]", "more than 100000 values"),
    "long text": ("a: " + "x" * 2**20, "larger than 1048576 characters"),
    "unknown alias": ("a: *b", "alias"),
    "merge of text": ("{<<: x}", "<< takes a mapping or a list of mappings"),
    "two documents": ("a: 1\n---\nb: 2", "document"),
    "control characters": ("a: \x00", "not YAML"),
    "a list": ("- 1", "expected a mapping of keys to values, found list"),
    "nothing": ("", "expected a mapping of keys to values, found NoneType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_in_one_message(name):
    text, message = REFUSED[name]
    with pytest.raises(InputError) as error:
        parse_yaml(text, "mine.yaml")
    assert message in str(error.value) and str(error.value).startswith("mine.yaml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "big.yaml").write_text("x" * (resources.LARGEST + 1))
    (tmp_path / "latin.yaml").write_bytes(b"caf\xe9")
    for name, message in [("big.yaml", "larger"), ("latin.yaml", "UTF-8"), ("n" * 300, "File name too long"), (".", "no")]:
        with pytest.raises(InputError, match=message):
            read_text(tmp_path / name, "recipe file")
    for name in ("n" * 300, "../spaces/tiny", "a\0b", ""):
        with pytest.raises(InputError, match="there is no search space"):
            load_space(name)
