"""check_block: test suite for a kind of block."""

import inspect
import random
from collections.abc import Iterator
from itertools import product
from math import ceil
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from nas.testing.deployed import check_deployed
from nas.testing.networks import block_texts
from nas.testing.said import said
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import build_block, run_block
from search_spaces.registry import BlockKind, Knob, Value, block_kind

CLASSES = 5
_BUILT, _TRIED = 25, 200  # random blocks: number to build, maximum number of attempts
_SIZES = (1, 2, 7, 32)
_NUMBERS = (0.0, 0.25, 0.5, 1.0, 3.0, 6.0)
_WIDTHS = ((16, 16), (16, 48), (48, 16))  # in and out


def check_block(kind: str) -> None:
    """Check the kind of block `kind`; raises AssertionError that says what is wrong.

    It must have a summary, and its knobs must be parsed correctly from its source. For any width, stride, size and knobs it
    must either raise InputError or run and be trainable: from [N, c_in, H, W] to [N, c_out, H / stride, W / stride], rounded
    up, or [N, classes] for a head, with finite outputs and gradients, and deterministic in eval mode. Every parameter must be
    used. Its text must parse to the same block. Counting, lowering, export and inheritance must match what torch runs
    (nas.testing.deployed). Raises InputError if there is no such block. Does not change torch's global generator.
    """
    known = block_kind(kind)
    assert known.summary.endswith("."), f"block {kind} has no summary: the first line of its docstring, with a full stop"
    _check_knobs(known)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if not known.has_branches:
            _check_drawn(known)
            _check_parameters(known)
        for text in block_texts(known).values():
            check_deployed(known, text)


def _check_knobs(kind: BlockKind) -> None:
    """Knobs parsed from the source must match the imported class."""
    with said(f"block {kind.name} cannot be imported"):
        init: Any = kind.load().__init__
    hints = get_type_hints(init)
    parameters = [p for p in inspect.signature(init).parameters.values() if p.name != "self"]
    takes = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    assert kind.takes == takes, f"block {kind.name} takes {takes}, but {kind.takes} was parsed from its source"
    found = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert list(found) == list(kind.knobs), (
        f"block {kind.name} has knobs {list(found)}, but {list(kind.knobs)} was parsed from its source"
    )
    for name, knob in kind.knobs.items():
        where = f"block {kind.name}, knob {name}"
        same = found[name] == knob.default and type(found[name]) is knob.type
        assert same, f"{where}: the default {found[name]!r} is read as {knob.default!r}; write it as {knob.type.__name__}"
        assert get_args(hints[name]) == knob.choices, f"{where}: its choices are read as {knob.choices}"
        assert knob.choices or hints[name] is knob.type, f"{where}: its type is read as {knob.type.__name__}"


def _check_drawn(kind: BlockKind) -> None:
    """Run blocks with random knobs on feature maps of random sizes."""
    rng, built = random.Random(0), 0
    for _ in range(_TRIED):
        spec, c_in = _drawn(kind, rng), rng.randint(1, 40)
        module, again = _built(spec, c_in), _built(spec, 24)
        where = f'block "{spec.line}"'
        assert (module is None) == (again is None), f"{where} is refused with {c_in} or 24 input channels, but not with both"
        row = [spec] if _is_head(kind) else [spec, BlockSpec.make("head")]
        assert Genotype.parse(Genotype.of(row).text).blocks == tuple(row), f"{where}: its text parses to another block"
        if module is not None:
            size = rng.choice(_SIZES)
            _check_run(module, spec, torch.randn(2, c_in, size, size), torch.randn(2, 3, 2 * size, 2 * size))
            built += 1
        if built == _BUILT:
            break
    assert built, f"block {kind.name} refuses all values of its knobs"


def _drawn(kind: BlockKind, rng: random.Random) -> BlockSpec:
    width = rng.randint(1, 40) if kind.has_width else None
    knobs = {name: _value(knob, rng) for name, knob in kind.knobs.items() if rng.random() < 0.5}
    return BlockSpec.make(kind.name, width, rng.choice(kind.strides), knobs)


def _value(knob: Knob, rng: random.Random) -> Value:
    if knob.choices:
        return rng.choice(knob.choices)
    return {bool: rng.random() < 0.5, int: rng.randint(0, 8), float: rng.choice(_NUMBERS), str: knob.default}[knob.type]


def _built(spec: BlockSpec, c_in: int) -> nn.Module | None:
    """The block's module; None if it refuses its knobs."""
    with said(f'block "{spec.line}" with {c_in} input channels cannot be built; it must raise InputError for invalid knobs'):
        try:
            return build_block(spec, c_in, CLASSES)
        except InputError:
            return None


def _check_run(module: nn.Module, spec: BlockSpec, x: Tensor, image: Tensor) -> None:
    """Run a training step, and evaluate one image; `image` is the network's input."""
    where = f'block "{spec.line}" on {list(x.shape)}'
    with said(where):
        y = run_block(module.train(), x.requires_grad_(), image)
    _check_shape(spec, x, y, where)
    assert y.requires_grad, f"{where} gives an output without gradient"
    with said(where):
        (y * torch.randn_like(y)).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [g for g in (x.grad, *(p.grad for p in module.parameters())) if g is not None]
    assert all(g.isfinite().all() for g in gradients), f"{where} has gradients that are not finite"
    with said(where), torch.no_grad():
        y, again = (run_block(module.eval(), x[:1], image[:1]) for _ in range(2))
    _check_shape(spec, x[:1], y, where)
    assert y.isfinite().all(), f"{where} gives outputs that are not finite"
    assert torch.equal(y, again), f"{where} gives another output for the same input in eval mode"


def _check_shape(spec: BlockSpec, x: Tensor, y: Tensor, where: str) -> None:
    """Check the output shape; height and width are not checked for padding that changes them."""
    sizes = [] if _is_head(block_kind(spec.kind)) else [ceil(size / spec.stride) for size in x.shape[2:]]
    expected = [len(x), spec.width or x.shape[1], *sizes] if sizes else [len(x), CLASSES]
    knobs = spec.arguments()
    pads = knobs.get("padding") not in (None, "symmetric", "same") or knobs.get("ceil") or knobs.get("kernel") == 2
    found = list(y.shape)
    alike = found[:2] == expected[:2] and len(found) == len(expected) and min(found) > 0 if pads else found == expected
    assert alike, f"{where} gives an output {found}, not {expected}"


def _is_head(kind: BlockKind) -> bool:
    return "classes" in kind.takes


def _check_parameters(kind: BlockKind) -> None:
    for spec, c_in in _default_blocks(kind):
        module = _built(spec, c_in)
        where = f'block "{spec.line}" with {c_in} input channels'
        assert module is not None, f"{where} refuses its default knobs"
        x, image = torch.randn(2, c_in, 8, 8, requires_grad=True), torch.randn(2, 3, 16, 16)
        run_block(module.train(), x, image).sum().backward()  # type: ignore[no-untyped-call]
        unused = [name for name, parameter in module.named_parameters() if parameter.grad is None]
        assert not unused, f"{where} has unused parameters: {', '.join(unused)}"


def _default_blocks(kind: BlockKind) -> Iterator[tuple[BlockSpec, int]]:
    """Blocks with default knobs, and their input channels."""
    for stride, (c_in, c_out) in product(kind.strides, _WIDTHS):
        yield BlockSpec.make(kind.name, c_out if kind.has_width else None, stride), c_in
