"""The supernet: shared tensors fit every block, parts are what blocks compute with, training touches only them and resumes."""

import random
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from evaluators.supernet.paths import SAMPLINGS, paths
from evaluators.supernet.shared import initial, members, part, slots, uses
from evaluators.supernet.supernet import Supernet, recalibrate
from evaluators.training.batches import Batches
from evaluators.training.groups import optimizer_of
from evaluators.training.loop import TrainingFailed, accuracy
from evaluators.training.recipe import load_recipe
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import Network, build, build_block, with_inputs
from search_spaces.registry import block_kind
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space, space_names
from search_spaces.task import Task

TASK = Task((3, 12, 12), 3)
RECIPE = replace(load_recipe("proxy"), epochs=3, share=1.0, least_images=0, batch_size=16)
SPACE = """
summary: a small one, with every kind of block that spaces have
input: [3, 12, 12]
stages:
  - {name: stem, width: [8, 12], blocks: {conv: {act: [relu, hard_swish]}}}
  - name: s1
    width: [12, 16]
    stride: 2
    depth: [0, 1, 2]
    blocks:
      inverted_residual: {kernel: [0, 3, 5], expand: {each: [1, 2, 4]}, se: [0, 0.25], act: [relu, swish], start: [0, 3, 5]}
      fused: {kernel: [3, 5], expand: {each: [1, 2]}}
      shuffle: {kernel: [3, 5]}
      eesp: {receptive_field: [5, 7], act: [prelu, relu]}
      csc: {expand: [1, 2], kernel: [3, 5]}
      fe: {units: [1, 2, 3], expand: [2, 4]}
      max_pool: {}
  - {name: head, blocks: {head: {hidden: [0, 6], dropout: [0, 0.2], bias: [yes, no]}}}
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "small.yaml"
    path.write_text(SPACE)
    return load_space(str(path))


def noisy(n: int = 96, size: int = 12) -> Batches:
    """Noisy images whose class is the brightest channel."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 3
    images = rng.integers(0, 100, (n, 3, size, size)).astype(np.uint8)
    images[np.arange(n), labels] += 120
    return Batches(images, labels, (0.4,) * 3, (0.25,) * 3, torch.device("cpu"))


def meta_blocks(genotype: Genotype, task: Task) -> list[nn.Module]:
    return [meta_block(spec, c_in, task.classes) for spec, c_in in with_inputs(genotype, task)]


@cache
def meta_block(spec: BlockSpec, c_in: int, classes: int) -> nn.Module:
    with torch.device("meta"):
        return build_block(spec, c_in, classes)


def without_dropout(network: Network) -> Network:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def batch(n: int = 8, size: int = 12) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def largest(space: SearchSpace, kind: str) -> Genotype:
    """The genotype of the largest values, with blocks of one kind wherever there is a choice."""
    return space.decode(
        lambda _, values: (kind if kind in values else values[0]) if isinstance(values[0], str) else max(values)
    )


KINDS = sorted({kind for name in space_names() for stage in load_space(name).stages for kind in stage.kinds})
CENTRAL = [kind for kind in KINDS if kind not in ("conv", "head")]


def copied(space: SearchSpace, genotype: Genotype, supernet: Supernet) -> Network:
    """A network built by itself, and its weights put into the supernet."""
    torch.manual_seed(1)
    alone = build(genotype, TASK)
    with torch.no_grad():
        for _, key, parameter in uses(space, genotype, alone.blocks):
            part(supernet.weights[key], parameter.shape).copy_(parameter)
    return alone


@pytest.mark.parametrize("kind", CENTRAL)
def test_a_block_computes_with_its_part_what_it_computes_alone(space, kind):
    genotype, supernet = largest(space, kind), Supernet(space, TASK, seed=0)
    assert {kind, "conv", "head"} == {spec.kind for spec in genotype.blocks}
    alone, frame = without_dropout(copied(space, genotype, supernet)), without_dropout(supernet._frame(genotype))
    taken = {name: part(supernet.weights[key], p.shape) for name, key, p in uses(space, genotype, frame.blocks)}
    assert taken.keys() == dict(alone.named_parameters()).keys()
    assert torch.equal(functional_call(frame, taken, batch()), deepcopy(alone).train()(batch()))
    alone = alone.to(memory_format=torch.channels_last)
    assert torch.equal(supernet.network(genotype).eval()(batch()), alone.eval()(batch()))


@pytest.mark.parametrize("kind", CENTRAL)
def test_two_steps_are_those_of_sgd_on_the_network_alone_and_touch_nothing_else(space, kind):
    genotype, supernet = largest(space, kind), Supernet(space, TASK, seed=0)
    alone = without_dropout(supernet.network(genotype)).train()
    before = {key: tensor.clone() for key, tensor in supernet.weights.items()}
    recipe = replace(RECIPE, mixup=0.0)
    optimizer = optimizer_of(alone, recipe)
    frame = supernet._frame
    supernet._frame = lambda g: without_dropout(frame(g))
    for _ in range(2):
        images, labels = batch(), torch.arange(8) % 3
        expected = F.cross_entropy(alone(images), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        loss = supernet._step(genotype, (images, labels), recipe, 1.0, torch.Generator())
        torch.testing.assert_close(loss, expected.detach())
    for _, key, parameter in uses(space, genotype, alone.blocks):
        torch.testing.assert_close(part(supernet.weights[key], parameter.shape), parameter.detach())
        part(supernet.weights[key], parameter.shape).copy_(part(before[key], parameter.shape))
    assert all(torch.equal(tensor, before[key]) for key, tensor in supernet.weights.items())


def test_shared_tensors_are_as_large_as_the_largest_choice_and_no_larger(space):
    found = {key: member.shape for key, member in members(space, TASK).items()}
    seen: dict[str, tuple[int, ...]] = {}
    rng = random.Random(0)
    for _ in range(3000):
        genotype = space.sample(rng)
        for _, key, parameter in uses(space, genotype, meta_blocks(genotype, TASK)):
            seen[key] = tuple(map(max, zip(seen.get(key, parameter.shape), parameter.shape, strict=True)))
    assert seen == found


@given(small=st.sampled_from([1, 3, 5]), large=st.sampled_from([5, 7]), widths=st.tuples(*[st.integers(1, 6)] * 2))
def test_a_part_is_the_first_channels_and_the_middle_of_the_kernel(small, large, widths):
    shared = torch.randn(6, 6, large, large, generator=torch.Generator().manual_seed(small), dtype=torch.float64)
    x = torch.randn(2, widths[1], 9, 9, generator=torch.Generator().manual_seed(large), dtype=torch.float64)
    masked, edge = torch.zeros_like(shared), (large - small) // 2
    for row in range(edge, large - edge):
        for column in range(edge, large - edge):
            masked[:, : widths[1], row, column] = shared[:, : widths[1], row, column]
    full = F.conv2d(F.pad(x, (0, 0, 0, 0, 0, 6 - widths[1])), masked, padding=large // 2)
    own = F.conv2d(x, part(shared, (*widths, small, small)), padding=small // 2)
    torch.testing.assert_close(own, full[:, : widths[0]])


def test_layers_share_by_what_they_do_however_many_stand_before_them():
    def shared(**knobs):
        block = build_block(BlockSpec.make("inverted_residual", 16, 1, knobs), 8, 3)
        return {slot: name for name, slot, _ in slots(block)}

    plain, all_, bare = shared(expand=2.0), shared(expand=2.0, se=0.25, start=3), shared(expand=1.0)
    without = shared(expand=2.0, start=5, kernel=0)
    assert set(bare) < set(plain) < set(all_)
    assert set(without) == {slot for slot in all_ if not slot.startswith(("layers.depthwise", "layers.SqueezeExcite"))}
    assert bare["layers.conv0.conv0.weight"] == "layers.1.0.weight"  # the projection
    assert plain["layers.conv0.conv0.weight"] == "layers.2.0.weight"
    assert all_["layers.conv0.conv0.weight"] == "layers.3.0.weight"
    assert plain["layers.conv1.conv0.weight"] == all_["layers.conv1.conv0.weight"] == "layers.0.0.weight"  # the expansion


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "max_pool"])
def test_names_of_shared_parameters_are_distinct_within_a_block(kind):
    known = block_kind(kind)
    spec = BlockSpec.make(kind, 16 if known.has_width else None, 1)
    block = build_block(spec, 16, 3)
    names, found, _ = zip(*slots(block), strict=True)
    assert sorted(names) == sorted(n for n, _ in block.named_parameters()) and len(set(found)) == len(names)


def test_the_first_channels_of_a_shift_start_in_all_directions(space):
    found = members(space, TASK)
    tensors = initial(found, 3, 0)
    rows, columns = (tensors[f"s1.1.fe.last.move.{axis}_offsets"] for axis in ("row", "col"))
    assert len(set(zip(rows[:16].tolist(), columns[:16].tolist(), strict=True))) > 4
    pairs = Counter(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(pairs) == 9 and max(pairs.values()) - min(pairs.values()) <= len(rows) % 9


def test_weights_start_with_the_spread_of_a_block_alone(space):
    tensors = initial(members(space, TASK), 3, 0)
    alone = build(largest(space, "inverted_residual"), TASK)
    for _, key, parameter in uses(space, alone.genotype, alone.blocks):
        if parameter.numel() > 500:
            assert float(tensors[key].std()) == pytest.approx(float(parameter.detach().std()), rel=0.15)
        if parameter.dim() == 1:
            assert torch.equal(tensors[key].unique(), parameter.detach().unique())


@given(seed=st.integers(0, 1000), n=st.integers(1, 60))
def test_fair_paths_train_every_value_as_often_as_any_other(space, seed, n):
    genes = [space.encode(genotype) for genotype in islice(paths(space, "fair", random.Random(seed)), n)]
    for gene in ("stem.width", "s1.block", "head.head.dropout"):
        counts = Counter(chosen[gene] for chosen in genes if gene in chosen)
        times = [counts[value] for value in space.genes[gene]]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_paths_follow_from_the_seed_and_are_of_the_space(space, sampling):
    first, again, other = (list(islice(paths(space, sampling, random.Random(seed)), 12)) for seed in (0, 0, 1))
    assert first == again != other
    assert all(space.encode(genotype) for genotype in first)


def test_sandwich_takes_a_largest_and_a_smallest_genotype_in_turn(space):
    found = list(islice(paths(space, "sandwich", random.Random(0)), 8))
    depths = [len(genotype.blocks) for genotype in found]
    assert depths[0::4] in ([4, 4], [3, 4], [4, 3], [3, 3]) and depths[1::4] == [2, 2]
    assert [genotype.blocks[0].width for genotype in found[:2]] == [12, 8]


def test_it_learns_and_scores_better_than_chance(space):
    supernet = Supernet(space, TASK, seed=0)
    curve = list(supernet.train(noisy(), noisy(), replace(RECIPE, epochs=12, learning_rate=0.8)))
    assert [epoch.number for epoch in curve] == list(range(1, 13))
    assert curve[-1].loss < curve[0].loss and curve[-1].accuracy > 0.6


def test_scoring_is_repeatable_and_leaves_the_shared_weights_alone(space):
    supernet = Supernet(space, TASK, seed=0)
    list(supernet.train(noisy(), noisy(), replace(RECIPE, epochs=1)))
    before = {key: tensor.clone() for key, tensor in supernet._tensors().items()}
    genotype = largest(space, "fe")
    scores = [supernet.score(genotype, noisy(), noisy(), RECIPE) for _ in range(2)]
    assert scores[0] == scores[1]
    assert all(torch.equal(tensor, before[key]) for key, tensor in supernet._tensors().items())


def test_recalibrated_norms_have_the_mean_of_the_batches_statistics(space):
    supernet = Supernet(space, TASK, seed=0)
    genotype = space.sample(random.Random(0))
    network, recipe = supernet.network(genotype), replace(RECIPE, crop_padding=0.0, flip=False, batch_size=24)
    recalibrate(network, noisy(), recipe)
    assert not any(module.training for module in network.modules())
    stem, norm = network.blocks[0].layers[0], network.blocks[0].layers[1]
    shown = noisy().epoch(noisy().share(1.0), recipe, torch.Generator().manual_seed(0))
    outputs = [stem(images).detach() for images, _ in shown]
    assert len(outputs) == 4
    torch.testing.assert_close(norm.running_mean, torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([y.var((0, 2, 3)) for y in outputs]).mean(0))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(space, sampling, tmp_path):
    whole = Supernet(space, TASK, seed=3)
    curve = list(whole.train(noisy(), noisy(), RECIPE, sampling))
    first = Supernet(space, TASK, seed=3)
    next(first.train(noisy(), noisy(), RECIPE, sampling))
    first.save(tmp_path / "supernet.safetensors")
    second = Supernet(space, TASK, seed=3)
    second.load(tmp_path / "supernet.safetensors")
    rest = list(second.train(noisy(), noisy(), RECIPE, sampling))
    assert [(e.number, e.loss, e.accuracy) for e in rest] == [(e.number, e.loss, e.accuracy) for e in curve[1:]]
    assert all(torch.equal(tensor, second._tensors()[key]) for key, tensor in whole._tensors().items())
    assert list(second.train(noisy(), noisy(), RECIPE, sampling)) == []


def test_another_seed_trains_another_supernet(space):
    one, other = (Supernet(space, TASK, seed) for seed in (0, 1))
    assert not torch.equal(one.weights["stem.0.conv.layers.conv0.weight"], other.weights["stem.0.conv.layers.conv0.weight"])


def test_a_file_that_is_no_supernet_of_this_space_is_refused_in_one_message(space, tmp_path):
    path = tmp_path / "supernet.safetensors"
    Supernet(space, Task(TASK.input, 7), seed=0).save(path)
    supernet = Supernet(space, TASK, seed=0)
    with pytest.raises(InputError, match="for another space or number of classes"):
        supernet.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as a supernet"):
        supernet.load(path)


def test_a_genotype_outside_the_space_cannot_be_scored(space):
    supernet = Supernet(space, TASK, seed=0)
    with pytest.raises(InputError, match=r"stem\.width"):
        supernet.score(Genotype.parse("input 3x12x12\nconv 64/1\nhead"), noisy(), noisy(), RECIPE)


def test_a_loss_that_is_not_finite_is_a_failure_with_its_place(space):
    supernet = Supernet(space, TASK, seed=0)
    with pytest.raises(TrainingFailed, match=r"the loss was (nan|inf) in epoch \d"):
        list(supernet.train(noisy(), noisy(), replace(RECIPE, learning_rate=1e30)))


def test_a_recipe_with_another_optimizer_is_refused(space):
    supernet = Supernet(space, TASK, seed=0)
    with pytest.raises(InputError, match="needs the optimizer sgd, but its recipe has adamw"):
        next(supernet.train(noisy(), noisy(), replace(RECIPE, optimizer="adamw")))


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "two.yaml"
    path.write_text(SPACE.replace("input: [3, 12, 12]", "input: {channels: 3, size: [8, 12]}"))
    return load_space(str(path))


def test_a_step_is_taken_and_a_score_given_at_the_genotypes_own_input(two_inputs):
    supernet = Supernet(two_inputs, TASK, seed=0)
    genotype = two_inputs.decode(lambda _, values: min(values) if not isinstance(values[0], str) else values[0])
    assert genotype.input == (3, 8, 8) and len(genotype.blocks) == 2
    reached = supernet.score(genotype, noisy(), noisy(), RECIPE)
    network, small = supernet.network(genotype), noisy().at((3, 8, 8))
    recalibrate(network, small, RECIPE)
    assert reached == accuracy(network, small)
    recipe, images, labels = replace(RECIPE, mixup=0.0), batch(), torch.arange(8) % 3
    alone = without_dropout(supernet.network(genotype)).train()
    scaled = F.interpolate(images, (8, 8), mode="bilinear", antialias=True)
    expected = F.cross_entropy(alone(scaled), labels, label_smoothing=recipe.label_smoothing)
    frame = supernet._frame
    supernet._frame = lambda g: without_dropout(frame(g))
    torch.testing.assert_close(supernet._step(genotype, (images, labels), recipe, 1.0, torch.Generator()), expected.detach())


def test_a_supernet_over_two_inputs_learns_at_both(two_inputs):
    supernet = Supernet(two_inputs, TASK, seed=0)
    list(supernet.train(noisy(), noisy(), replace(RECIPE, epochs=12, learning_rate=0.8)))
    for size in (8, 12):
        found = [g for g in (two_inputs.sample(random.Random(i)) for i in range(12)) if g.input == (3, size, size)]
        assert np.mean([supernet.score(g, noisy(), noisy(), RECIPE) for g in found]) > 0.5
