"""SearchSpace: the set of genotypes that a search may propose; decode, encode, sample, count.

A space is a sequence of stages. A stage is a run of equal-width blocks of one kind, the first of which has the stage's stride;
a block kind without a width (a pooling, the head) occurs once. For the file format, see search_spaces.space_file.

Every choice is a gene, named by its place: `input`, `s1.block`, `s1.width`, `s1.depth`, `s1.inverted_residual.kernel`,
`s1.inverted_residual.expand.2`. Genes of blocks that were not chosen are inactive: decoding ignores them.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from search_spaces.anchor import Anchor, anchor
from search_spaces.errors import InputError
from search_spaces.genes import Chooser, Genes, from_table, not_among, once, pick
from search_spaces.genotype import BlockSpec, Genotype, PaddingRule
from search_spaces.registry import BlockKind, Value, block_kind, show
from search_spaces.task import Input, Task, input_text, size_text

INPUT = "input"  # the gene


@dataclass(frozen=True)
class Choice:
    """Values of a knob: one is fixed, several are a choice; with `each`, chosen separately for every block."""

    values: tuple[Value, ...]
    each: bool = False


@dataclass(frozen=True)
class Stage:
    """Consecutive blocks at one resolution: choices of depth, width, block kind and knobs."""

    name: str
    stride: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kinds: Mapping[str, Mapping[str, Choice]]

    def decode(self, choose: Chooser) -> Iterator[BlockSpec]:
        """The stage's blocks; asks `choose` for active genes only, in order."""
        depth = int(pick(choose, f"{self.name}.depth", self.depths))
        if depth == 0:
            return
        kind = block_kind(str(pick(choose, f"{self.name}.block", tuple(self.kinds))))
        width = int(pick(choose, f"{self.name}.width", self.widths)) if kind.has_width else None
        for layer, named in enumerate(self._named[kind.name][: depth if kind.has_width else 1]):
            knobs = tuple([(knob, pick(choose, gene, values)) for knob, gene, values in named])
            yield _spec(kind.name, width, self.stride if layer == 0 else 1, knobs)

    @cached_property
    def _named(self) -> dict[str, list[list[tuple[str, str, tuple[Value, ...]]]]]:
        """The knobs with their genes and values, by kind and layer."""
        layers = range(max(self.depths))
        return {
            kind: [[(n, self._gene(kind, n, c, layer), c.values) for n, c in knobs.items()] for layer in layers]
            for kind, knobs in self.kinds.items()
        }

    def _gene(self, kind: str, knob: str, choice: Choice, layer: int) -> str:
        return f"{self.name}.{kind}.{knob}" + (f".{layer}" if choice.each else "")

    def genes(self) -> Iterator[tuple[str, tuple[Value, ...]]]:
        """Every possible gene with its values."""
        yield f"{self.name}.depth", self.depths
        yield f"{self.name}.block", tuple(self.kinds)
        yield f"{self.name}.width", self.widths
        for kind, knobs in self.kinds.items():
            for knob, choice in knobs.items():
                for layer in range(max(self.depths) if choice.each else 1):
                    yield self._gene(kind, knob, choice, layer), choice.values

    def size(self) -> int:
        """The number of distinct block sequences of the stage."""
        return sum(self._size(block_kind(kind), knobs) for kind, knobs in self.kinds.items()) + (0 in self.depths)

    def _size(self, kind: BlockKind, knobs: Mapping[str, Choice]) -> int:
        fixed = math.prod(len(c.values) for c in knobs.values() if not c.each)
        each = math.prod(len(c.values) for c in knobs.values() if c.each)
        if not kind.has_width:
            return fixed * each
        return sum(fixed * each**depth for depth in self.depths if depth) * len(self.widths)

    def encode(self, blocks: Sequence[BlockSpec]) -> dict[str, Value]:
        """The genes that decode to exactly these blocks; raises InputError naming the gene that excludes them."""
        genes: dict[str, Value] = {f"{self.name}.depth": len(blocks)}
        if not blocks:
            return genes | self._among("depth", 0, self.depths)
        kind = block_kind(blocks[0].kind)
        genes |= self._among("block", kind.name, tuple(self.kinds))
        if kind.has_width:
            genes |= self._among("depth", len(blocks), self.depths)
            genes |= self._among("width", blocks[0].width or 0, self.widths)
        else:
            genes[f"{self.name}.depth"] = next(d for d in self.depths if d)
        for layer, spec in enumerate(blocks):
            genes |= self._encode_block(spec, layer, kind, blocks[0].width, genes)
        return genes

    def _encode_block(self, spec: BlockSpec, layer: int, kind: BlockKind, width: int | None, genes: Genes) -> dict[str, Value]:
        if (spec.kind, spec.width) != (kind.name, width):
            raise InputError(f"{self.name}.block: {spec.line} does not continue {kind.name} {width}")
        if spec.stride != (self.stride if layer == 0 else 1):
            raise InputError(f"{self.name}: stride {spec.stride} at block {layer + 1} of the stage")
        found: dict[str, Value] = {}
        for knob, value in spec.arguments().items():
            choice = self.kinds[kind.name].get(knob, Choice((kind.knob(knob).default,)))
            name = self._gene(kind.name, knob, choice, layer)
            if value not in choice.values:
                raise not_among(name, value, choice.values)
            if genes.get(name, value) != value:
                raise InputError(f"{name}: {show(value)} and {show(genes[name])} in one stage")
            found[name] = value
        return found

    def _among(self, gene: str, value: Value, values: Sequence[Value]) -> dict[str, Value]:
        name = f"{self.name}.{gene}"
        if value not in values:
            raise not_among(name, value, values)
        return {name: value}


@dataclass(frozen=True)
class SearchSpace:
    """A search space of stages.

    `inputs` are the possible (channels, height, width) of a network, by size. `anchors` are the hand-designed networks in every
    run, `other_anchors` further compact ones, each with "inside" or the gene that excludes it. If an anchor's overall stride
    exceeds `overall_stride`, its first strides are removed (the usual way to adapt ImageNet networks to small images). With
    `padding` "same", strided blocks pad like TensorFlow, as weights trained there require.
    """

    name: str
    summary: str
    inputs: tuple[Input, ...]
    stages: tuple[Stage, ...]
    anchors: Mapping[str, str] = field(default_factory=dict)
    other_anchors: Mapping[str, str] = field(default_factory=dict)
    overall_stride: int = 32
    padding: PaddingRule = "symmetric"

    @property
    def input(self) -> Input:
        """The largest input."""
        return self.inputs[-1]

    def task(self, classes: int) -> Task:
        """The task at the largest input."""
        return Task(self.input, classes)

    def reference_networks(self) -> list[Anchor]:
        """The anchors of this space, adapted to its overall stride, at every input up to their published one.

        If all inputs are larger, at the smallest. With several inputs, the size is appended to the name: mobilenet_v2@160
        (the resolution multiplier of arXiv:1704.04861).
        """
        return [at for known in map(anchor, self.anchors) for at in self._at_inputs(known)]

    def _brought(self, known: Anchor) -> Genotype:
        """The anchor's blocks with the space's overall stride, and its padding if that is "same"."""
        return self._padded(known.genotype.at_stride(self.overall_stride))

    def _padded(self, genotype: Genotype) -> Genotype:
        return genotype if self.padding == "symmetric" else genotype.padded(self.padding)

    def _at_inputs(self, known: Anchor) -> list[Anchor]:
        genotype, published = self._brought(known), math.prod(known.task.input[1:])
        found = [i for i in self.inputs if math.prod(i[1:]) <= published] or list(self.inputs[:1])
        names = {i: f"{known.name}@{size_text(i)}" if len(self.inputs) > 1 else known.name for i in found}
        return [replace(known, name=names[i], genotype=genotype.at(i)) for i in found]

    def with_anchors(self, names: Iterable[str]) -> "SearchSpace":
        """The space with additional anchors; raises InputError for an unknown anchor."""
        found = {known.name: self.place_of(known) for known in map(anchor, names)}
        return replace(self, anchors=dict(self.anchors) | found)

    def place_of(self, known: Anchor) -> str:
        """ "inside", or the gene that excludes the anchor after adapting its overall stride."""
        try:
            self.encode(self._brought(known).at(self.input))
        except InputError as error:
            return str(error).partition(":")[0]
        return "inside"

    @cached_property
    def genes(self) -> dict[str, tuple[Value, ...]]:
        """Every gene with more than one value, with its values."""
        own = [(INPUT, tuple(self._sizes)), *(gene for stage in self.stages for gene in stage.genes())]
        return {name: values for name, values in own if len(values) > 1}

    @cached_property
    def _sizes(self) -> dict[Value, Input]:
        """The inputs by the value of the gene `input`: the side of a square, else HEIGHTxWIDTH."""
        return {height if height == width else f"{height}x{width}": (c, height, width) for c, height, width in self.inputs}

    def decode(self, genes: Genes | Chooser) -> Genotype:
        """The genotype for a table of genes, or for a function `choose(gene, values)`, called for each active gene.

        Raises InputError for a missing gene or a value outside the space.
        """
        choose = once(genes if callable(genes) else from_table(genes))
        input = self._sizes[pick(choose, INPUT, tuple(self._sizes))]
        return self._padded(Genotype.of([spec for stage in self.stages for spec in stage.decode(choose)], input))

    def sample(self, rng: random.Random) -> Genotype:
        """A random genotype, with every active gene drawn uniformly."""
        return self.decode(lambda _, values: rng.choice(values))

    @cached_property
    def size(self) -> int:
        """The exact number of genotypes, counting distinct block sequences stage by stage."""
        return len(self.inputs) * math.prod(stage.size() for stage in self.stages)

    def encode(self, genotype: Genotype) -> dict[str, Value]:
        """The active genes that decode to `genotype`; raises InputError naming the gene that excludes it."""
        size = self._size(genotype)
        deepest: list[tuple[int, InputError]] = []
        genes = self._match(self._unpadded(genotype).blocks, 0, 0, set(), deepest)
        if genes is None:
            raise max(deepest, key=lambda found: found[0])[1]
        return {name: value for name, value in ({INPUT: size} | genes).items() if name in self.genes}

    def _unpadded(self, genotype: Genotype) -> Genotype:
        """The genotype with the stages' padding; raises InputError unless it has the space's padding."""
        if self._padded(genotype) != genotype:
            raise InputError(f"padding: its strided blocks must have the space's padding, {self.padding}")
        return genotype if self.padding == "symmetric" else genotype.padded("symmetric")

    def _size(self, genotype: Genotype) -> Value:
        """The value of the gene `input`; raises InputError for an input outside the space."""
        for value, input in self._sizes.items():
            if input == genotype.input:
                return value
        found = input_text(genotype.input) if genotype.input else "none"
        raise InputError(f"{INPUT}: {found} is not among {', '.join(map(input_text, self.inputs))}")

    def _match(
        self,
        blocks: Sequence[BlockSpec],
        start: int,
        stage: int,
        failed: set[tuple[int, int]],
        deepest: list[tuple[int, InputError]],
    ) -> dict[str, Value] | None:
        """Genes for blocks[start:] from `stage` on, or None; records in `deepest` how far each failed attempt got, and why."""
        if (start, stage) in failed:
            return None
        failed.add((start, stage))
        if stage == len(self.stages):
            if start == len(blocks):
                return {}
            deepest.append((start, InputError(f"{blocks[start].line} comes after the last stage")))
            return None
        for depth in _depths(self.stages[stage], len(blocks) - start):
            try:
                genes = self.stages[stage].encode(blocks[start : start + depth])
            except InputError as error:
                deepest.append((start + depth, error))
                continue
            rest = self._match(blocks, start + depth, stage + 1, failed, deepest)
            if rest is not None:
                return genes | rest
        return None


def _depths(stage: Stage, left: int) -> list[int]:
    depths = set(stage.depths) | ({1} if any(not block_kind(k).has_width for k in stage.kinds) else set())
    return sorted((d for d in depths if d <= left), reverse=True) or [min(1, left)]


@lru_cache(maxsize=2**17)
def _spec(kind: str, width: int | None, stride: int, knobs: tuple[tuple[str, Value], ...]) -> BlockSpec:
    """A block of a space, validated once and cached, so that comparison is fast."""
    return BlockSpec.make(kind, width, stride, dict(knobs))
