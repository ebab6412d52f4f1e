"""The shared weights of a search space: names, shapes, and the slice that each block uses.

There is one tensor for each stage, layer, block kind and parameter, as large along each dimension as the largest choice. A
block uses its leading channels and the centre of its convolution kernels (arXiv:1904.00420; kernel centres:
arXiv:1908.09791).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import build_block, initialise
from search_spaces.ops.activation import activation
from search_spaces.registry import Value, block_kind
from search_spaces.space import SearchSpace, Stage
from search_spaces.task import Task


@dataclass(frozen=True)
class Member:
    """A shared tensor: its shape, and the block that uses the most of it, as its parameter `name`."""

    shape: tuple[int, ...]
    elements: int
    block: BlockSpec
    c_in: int
    name: str

    def joined(self, other: "Member") -> "Member":
        """A tensor large enough for both."""
        shape = tuple(max(sizes) for sizes in zip(self.shape, other.shape, strict=True))
        most = max(self, other, key=lambda member: member.elements)
        return Member(shape, most.elements, most.block, most.c_in, most.name)


def members(space: SearchSpace, task: Task) -> dict[str, Member]:
    """Every shared tensor of a space by name, found by building each possible block on the meta device."""
    found: dict[str, Member] = {}
    for stage, inputs in _with_inputs(space, task.input[0]):
        for kind in stage.kinds:
            first = _members(_blocks(stage, kind, inputs), task.classes)
            later = _members(_later_blocks(stage, kind), task.classes)
            for layer in range(max(stage.depths)):
                found |= {f"{_place(stage, layer, kind)}.{slot}": m for slot, m in (later if layer else first).items()}
    return found


def initial(found: dict[str, Member], classes: int, seed: int) -> dict[str, Tensor]:
    """Initial tensors: matrices and kernels are normal, with the standard deviation that the largest block starts with.

    Vectors are the largest block's, permuted the same way for equal lengths, so that a leading slice of a shift's offsets
    covers all directions.
    """
    torch.manual_seed(seed)
    blocks: dict[tuple[BlockSpec, int], nn.Module] = {}
    tensors: dict[str, Tensor] = {}
    for key, member in found.items():
        choice = member.block, member.c_in
        if choice not in blocks:
            blocks[choice] = build_block(*choice, classes)
            initialise(blocks[choice])
        start = blocks[choice].get_parameter(member.name).detach()
        if start.dim() > 1:
            tensors[key] = torch.empty(member.shape).normal_(0.0, float(start.std()))
        else:
            tensors[key] = start[torch.randperm(len(start), generator=torch.Generator().manual_seed(seed))]
    return tensors


def uses(space: SearchSpace, genotype: Genotype, blocks: Iterable[nn.Module]) -> Iterator[tuple[str, str, nn.Parameter]]:
    """For each parameter of a genotype's network: its name, its shared tensor's name, and the parameter.

    `blocks` are the modules of the genotype's blocks. Raises InputError for a genotype outside the space.
    """
    for i, (place, block) in enumerate(zip(_places(space, genotype), blocks, strict=True)):
        for name, slot, parameter in slots(block):
            yield f"blocks.{i}.{name}", f"{place}.{slot}", parameter


def part(shared: Tensor, shape: Sequence[int]) -> Tensor:
    """The view of a shared tensor that a parameter of this shape uses."""
    spans = []
    for i, (have, want) in enumerate(zip(shared.shape, shape, strict=True)):
        assert want <= have, "a parameter is larger than its shared tensor"
        start = (have - want) // 2 if i >= 2 else 0
        spans.append(slice(start, start + want))
    return shared[tuple(spans)]


def slots(module: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """For each parameter of a block: its name, its shared name, and the parameter.

    Knobs add members to an nn.Sequential or remove them, so that `layers.2` means different things in different blocks.
    Members are therefore named by role and counted from the end: `layers.conv0` is the projection of an inverted residual,
    with or without expansion and squeeze-and-excitation.
    """
    return _slots(module, "", "")


def _slots(module: nn.Module, name: str, slot: str) -> Iterator[tuple[str, str, nn.Parameter]]:
    for own, parameter in module.named_parameters(recurse=False):
        yield name + own, slot + own, parameter
    for own, shared, child in _children(module):
        yield from _slots(child, f"{name}{own}.", f"{slot}{shared}.")


def _children(module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """The children with their name and shared name."""
    later: Counter[str] = Counter()
    for name, child in reversed(list(module.named_children())):
        role = _role(child)
        yield name, f"{role}{later[role]}" if isinstance(module, nn.Sequential) else name, child
        later[role] += 1


def _role(module: nn.Module) -> str:
    """The role of a member of a sequence; for a nested sequence, that of its first member with parameters."""
    if isinstance(module, nn.Sequential):
        return next((_role(child) for child in module if next(child.parameters(), None) is not None), "none")
    if isinstance(module, nn.Conv2d):
        return "depthwise" if module.groups == module.in_channels > 1 else "conv"
    return type(module).__name__


def _place(stage: Stage, layer: int, kind: str) -> str:
    return f"{stage.name}.{layer}.{kind}"


def _places(space: SearchSpace, genotype: Genotype) -> Iterator[str]:
    """The place of each block of a genotype; raises InputError naming the gene that excludes it from the space."""
    genes = space.encode(genotype)
    for stage in space.stages:
        for layer, spec in enumerate(stage.decode(lambda gene, _: genes[gene])):
            yield _place(stage, layer, spec.kind)


def _with_inputs(space: SearchSpace, channels: int) -> Iterator[tuple[Stage, set[int]]]:
    """Each stage with its possible input widths."""
    widths = {channels}
    for stage in space.stages:
        yield stage, widths
        sets_width = [block_kind(kind).has_width for kind in stage.kinds]
        passes = 0 in stage.depths or not all(sets_width)
        widths = (set(stage.widths) if any(sets_width) else set()) | (widths if passes else set())


def _blocks(stage: Stage, kind: str, inputs: Iterable[int]) -> Iterator[tuple[BlockSpec, int]]:
    """Every distinct choice for the first block of a stage, with its input width."""
    for c_in, width in product(sorted(inputs), stage.widths if block_kind(kind).has_width else (None,)):
        for knobs in _knobs(stage, kind):
            yield BlockSpec.make(kind, width, stage.stride, knobs), c_in


def _later_blocks(stage: Stage, kind: str) -> Iterator[tuple[BlockSpec, int]]:
    """Every distinct choice for a later block of a stage, whose input width equals its own."""
    if block_kind(kind).has_width and max(stage.depths) > 1:
        for width, knobs in product(stage.widths, _knobs(stage, kind)):
            yield BlockSpec.make(kind, width, 1, knobs), width


def _knobs(stage: Stage, kind: str) -> Iterator[dict[str, Value]]:
    choices = {name: _distinct(name, choice.values) for name, choice in stage.kinds[kind].items()}
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _distinct(knob: str, values: Sequence[Value]) -> list[Value]:
    """The values that affect parameters: of activations, one without parameters and one with."""
    if knob != "act":
        return list(values)
    with_parameters = {any(True for _ in activation(value, 1).parameters()): value for value in values}  # type: ignore[arg-type]
    return list(with_parameters.values())


def _members(blocks: Iterable[tuple[BlockSpec, int]], classes: int) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for spec, c_in in blocks:
        with torch.device("meta"):
            module = build_block(spec, c_in, classes)
        for name, slot, parameter in slots(module):
            member = Member(tuple(parameter.shape), parameter.numel(), spec, c_in, name)
            found[slot] = found[slot].joined(member) if slot in found else member
    return found
