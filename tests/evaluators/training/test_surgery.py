"""Surgeries: what is masked is removed without changing the outputs, the genotype says so, and resumed trainings end alike."""

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import prune

from evaluators.cost import cost
from evaluators.onnx import INPUT, OUTPUT, export_onnx
from evaluators.training.batches import Batches
from evaluators.training.checkpoint import load_checkpoint, save_checkpoint
from evaluators.training.loop import Training, seeded_network
from evaluators.training.recipe import RECIPES, SURGERIES, load_recipe
from evaluators.training.surgery import surgery_of
from search_spaces.anchor import anchor
from search_spaces.blocks.gated import Gated
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build, example_input
from search_spaces.ops.learnt_shift import LearntShift
from search_spaces.task import Task

CPU = torch.device("cpu")
TASK = Task((3, 8, 8), 3)
DENSE = """input 3x8x8
conv 8/1 act=none norm=no
concat x3
  |
  | norm_act
    conv 6/1 act=none norm=no
norm_act
conv 16/1 kernel=1 act=none norm=no
dropout rate=0.2
norm_act
head
"""
GROUPS = """input 3x8x8
conv 8/1 act=none norm=no
concat x2
  |
  | lgc 12 groups=3 condense=3
    norm_act
    conv 6/1 act=none groups=3 norm=no
dropout rate=0.2
norm_act
select 10
head
"""
SHIFTS = """input 3x8x8
conv 8/1
add
  | active_shift /1
    conv 8/1 kernel=1
  |
active_shift /2
sparse_shift
fe 16/1 units=2 expand=2
dropout rate=0.2
head
"""
GATES = """input 3x8x8
conv 8/1
gated
  | add act=relu x3
      | conv 8/1 act=none
      |
dropout rate=0.2
head
"""
POINTWISE = """input 3x8x8
conv 16/2
conv 32/1 kernel=1
concat
  | conv 24/1 kernel=1 act=none norm=no bias=yes
  |
dropout rate=0.2
head
"""
CASES = {
    "prune_inputs": (DENSE, {"share": 0.5, "at": [0.2, 0.4], "l1": 0.001}),
    "condense": (GROUPS, {"until": 0.6, "lasso": 0.001}),
    "whole_shifts": (SHIFTS, {"penalty": 0.001, "until": 0.6}),
    "low_rank": (POINTWISE, {"energy": 0.7, "at": 0.4}),
    "learn_to_skip": (GATES, {"alpha": 0.5, "since": 0.5, "weight": 0.1}),
}


def _images(count=48):
    images = np.random.default_rng(0).integers(0, 255, (count, 3, 8, 8)).astype(np.uint8)
    return Batches(images, np.arange(count) % 3, (0.4,) * 3, (0.25,) * 3, CPU)


def _training(kind, seed=0, text=None, ema=0.9, **changes):
    own, settings = CASES[kind]
    asked = {"kind": kind, **settings, **changes}
    recipe = replace(load_recipe("final"), epochs=4, least_images=0, batch_size=16, ema=ema, surgery=asked)
    surgery = surgery_of(asked)
    opened = surgery.opened(Genotype.parse(text or own))
    network, generator = seeded_network(opened, TASK, seed, CPU)
    return Training(network, _images(), _images(), recipe, generator, surgery=surgery), surgery


def _trained(kind, monkeypatch, **changes):
    """A finished training, its surgery, and the network as it was before it was closed."""
    training, surgery = _training(kind, **changes)
    before = []
    close = surgery.closed
    monkeypatch.setattr(surgery, "closed", lambda network: [before.append(copy.deepcopy(network)), close(network)][1])
    while not training.finished:
        training.epoch()
    return training, surgery, before[0]


def test_every_surgery_is_tested():
    assert set(CASES) == set(SURGERIES.own())
    used = {found.surgery["kind"] for found in map(load_recipe, RECIPES.own()) if found.surgery}
    assert used == set(CASES), "and has a recipe"


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("kind", CASES)
def test_the_closed_network_is_what_its_genotype_builds_and_computes_what_the_masked_one_did(kind, ema, monkeypatch):
    training, _, masked = _trained(kind, monkeypatch, ema=ema)
    closed = training.network
    rebuilt = build(Genotype.parse(closed.genotype.text), TASK)
    rebuilt.load_state_dict(closed.state_dict())
    x = example_input(TASK, 4)
    with torch.no_grad():
        expected = masked.eval()(x)
        torch.testing.assert_close(rebuilt.eval()(x), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("kind", CASES)
def test_the_exported_file_computes_the_same(kind, monkeypatch, tmp_path):
    training, *_ = _trained(kind, monkeypatch)
    network = training.network.eval()
    export_onnx(network, TASK, tmp_path / "model.onnx")
    x = example_input(TASK)
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run([OUTPUT], {INPUT: x.numpy()})
    expected = network(x).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("stop", [2, 4])
def test_resumed_is_uninterrupted(kind, stop, tmp_path):
    whole, _ = _training(kind)
    while not whole.finished:
        whole.epoch()
    first, _ = _training(kind)
    for _ in range(stop):
        first.epoch()
    save_checkpoint(first, tmp_path)
    torch.manual_seed(77)
    second, _ = _training(kind, seed=5)  # everything comes from the checkpoint
    load_checkpoint(second, tmp_path)
    while not second.finished:
        second.epoch()
    assert second.network.genotype == whole.network.genotype
    found, expected = second.network.state_dict(), whole.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_prune_inputs_drops_what_torchs_pruning_drops(monkeypatch):
    training, surgery = _training("prune_inputs", at=[0.0], ema=0.0)
    network = training.network
    (name, layer), *_ = ((n, m) for n, m in network.named_modules() if n in surgery.masks)
    reference = prune.ln_structured(copy.deepcopy(layer), "weight", amount=0.5, n=1, dim=1)
    surgery.before(network, 0.0)
    assert torch.equal(surgery.masks[name].flatten(), reference.weight_mask[0, :, 0, 0])
    assert torch.equal(layer.weight, reference.weight)


def test_prune_inputs_follows_its_schedule():
    training, surgery = _training("prune_inputs", share=0.5, at=[0.25, 0.75], ema=0.0)
    kept = []
    for _ in range(4):
        training.epoch()
        kept.append({name: float(mask.mean()) for name, mask in surgery.masks.items()})
    assert set(kept[0].values()) == {1.0}
    assert all(0.7 < share < 0.8 for share in kept[1].values())
    assert kept[1] == kept[2] and all(share == pytest.approx(0.5, abs=0.04) for share in kept[3].values())


def _closed(name, recipe):
    """The network that a recipe makes of an anchor, without training: every stage is passed at once."""
    known, asked = anchor(name), load_recipe(recipe).surgery
    surgery = surgery_of(asked)
    network = build(surgery.opened(known.genotype.at(known.task.input)), known.task)
    surgery.attach(network)
    surgery.before(network, 1.0)
    return surgery.closed(network), known


def test_sparse_densenet_has_the_published_size():
    """DenseNet-40: 1.0 M params and 530 M FLOPs (twice the MACs), of which .7 M and 370 M are left."""
    network, known = _closed("densenet:40-12", "sparse_densenet")
    before, after = cost(known.genotype, known.task), cost(network.genotype, known.task)
    assert (round(before.params / 1e6, 1), round(2 * before.macs / 1e6, -1)) == (1.0, 530)
    assert (round(after.params / 1e6, 1), round(2 * after.macs / 1e6, -1)) == (0.7, 370)


@pytest.mark.parametrize("variant", ["74-4", "74-8", "cifar-50"])
def test_condensenet_ends_as_the_anchor(variant):
    network, known = _closed(f"condensenet:{variant}", "condensenet")
    assert network.genotype == known.genotype.at(known.task.input)


def test_condense_keeps_the_strongest_inputs_of_each_group_by_torchs_pruning():
    training, surgery = _training("condense", ema=0.0)
    network = training.network
    name, (layer, learnt) = next((n, found) for n, found in surgery._layers.items() if found[1].groups == 3)
    expected = []
    for group in range(3):
        part = torch.nn.Conv2d(layer.in_channels, 4, 1, bias=False)
        part.weight.data.copy_(layer.weight[group::3])
        prune.ln_structured(part, "weight", amount=layer.in_channels - learnt.keeps, n=1, dim=1)
        expected.append(part.weight_mask[:, :, 0, 0])
    surgery.before(network, 1.0)
    found = surgery.masks[name].expand_as(layer.weight)[:, :, 0, 0]
    assert all(torch.equal(found[group::3], expected[group]) for group in range(3))


def test_low_rank_keeps_the_energy_and_computes_with_numpys_truncated_svd(monkeypatch):
    training, surgery = _training("low_rank", at=0.0, ema=0.0)
    network = training.network
    before = {name: network.get_submodule(name).weight.detach().clone() for name in surgery._layers}
    surgery.before(network, 0.0)
    for name, weight in before.items():
        left, values, right = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
        rank = int(surgery.masks[name])
        energy = np.square(values)
        assert energy[:rank].sum() >= 0.7 * energy.sum() > energy[: rank - 1].sum()
        expected = (left[:, :rank] * values[:rank]) @ right[:rank]
        found = network.get_submodule(name).weight.detach().flatten(1).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
    closed = surgery.closed(network)
    ranks = [int(rank) for rank in surgery.masks.values()]
    assert [spec.width for spec in closed.genotype.blocks[1:3]] == [ranks[0], 32]
    assert cost(closed.genotype, TASK).params < cost(Genotype.parse(POINTWISE), TASK).params


def test_a_layer_whose_factors_are_no_smaller_stays(monkeypatch):
    training, *_ = _trained("low_rank", monkeypatch, energy=1.0)
    assert training.network.genotype == Genotype.parse(POINTWISE)


def test_shifts_end_whole_and_the_penalty_pulls_them_to_zero(monkeypatch):
    shares = {}
    for penalty in (0.0, 3.0):
        training, surgery, _ = _trained("whole_shifts", monkeypatch, penalty=penalty)
        state = training.network.state_dict()
        offsets = torch.cat([tensor.flatten() for name, tensor in state.items() if name.endswith("_offsets")])
        assert torch.equal(offsets, offsets.round())
        shares[penalty] = surgery.found(training.network, _images())["shifted"]
    assert shares[3.0] < 0.1 < 0.3 < shares[0.0]


def test_whole_shifts_move_data_without_computing_and_zero_shifts_not_even_that(monkeypatch, tmp_path):
    """In the exported file: no sampling, a convolution for each of the genotype, and no padding where nothing is shifted."""
    training, *_ = _trained("whole_shifts", monkeypatch)
    text = training.network.genotype.text
    assert "active_shift /1" not in text and text.count("active_shift /2") == 1
    convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in training.network.modules())
    operations = _operations(training.network, tmp_path)
    assert operations["Conv"] == convolutions and "GridSample" not in operations and operations["Pad"] > 0
    for module in training.network.modules():
        if isinstance(module, LearntShift):
            torch.nn.init.zeros_(module.row_offsets), torch.nn.init.zeros_(module.col_offsets)
    assert "Pad" not in _operations(training.network, tmp_path)


def _operations(network, folder):
    export_onnx(network.eval(), TASK, folder / "model.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


def test_gates_learn_to_skip_when_it_is_rewarded_and_the_accuracy_does_not_matter():
    training, surgery = _training("learn_to_skip", since=0.0, alpha=50.0, weight=1.0, ema=0.0)
    while not training.finished:
        training.epoch()
    found = surgery.found(training.network, _images())
    assert found["macs_mean"] == found["macs_max"] < 0.5 * found["macs_every_block"]
    assert 0 < found["torch_ms_p50"] <= found["torch_ms_p90"] and found["timed_images"] == 48


def test_the_reward_has_the_gradient_of_the_policy():
    """Against torch.distributions: the gradient of -sum (reward - mean reward) log p."""
    _, surgery = _training("learn_to_skip", since=0.0, alpha=0.7, weight=2.0)
    p = torch.rand(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    runs = torch.tensor([[1.0, 0], [0, 0], [1, 1], [0, 1]])
    chances = torch.distributions.Bernoulli(probs=p).log_prob(runs)
    surgery._gated[0].policy = (chances, runs)
    logits, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])
    loss = surgery.penalty(logits, [(1.0, labels)], 1.0)
    (found,) = torch.autograd.grad(loss, p, retain_graph=True)
    saved = torch.tensor([[1.0, 1], [2, 1], [0, 0], [1, 0]])  # blocks from each gate on; both cost the same
    reward = 0.7 / 2 * saved - F.cross_entropy(logits, labels, reduction="none")[:, None]
    (expected,) = torch.autograd.grad(-2.0 * ((reward - reward.mean(0)) * chances).sum() / 4, p)
    torch.testing.assert_close(found, expected)


def test_exploring_ends_with_the_training(monkeypatch):
    training, *_ = _trained("learn_to_skip", monkeypatch)
    (gated,) = (module for module in training.network.modules() if isinstance(module, Gated))
    assert not gated.explores and gated.policy is None


@pytest.mark.parametrize("kind", CASES)
def test_a_network_without_such_layers_is_refused(kind):
    with pytest.raises(InputError, match=f"surgery {kind} changes .* which this network lacks; it has conv, head"):
        _training(kind, text="input 3x8x8\nconv 8/1\nhead")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "prune_input"}, 'no surgery "prune_input"; did you mean "prune_inputs"'),
        ({"share": 0.3}, "surgery needs the key kind, one of condense, "),
        ({"kind": "condense", "until": 0.0, "lasso": 0.0}, "until must be above 0"),
        ({"kind": "condense", "until": 0.5}, 'the key "lasso" is missing'),
        ({"kind": "prune_inputs", "share": 1.0, "at": [0.5], "l1": 0.0}, "share must be below 1"),
        ({"kind": "prune_inputs", "share": 0.5, "at": [0.5, 0.2], "l1": 0.0}, "at must rise"),
    ],
)
def test_wrong_settings_are_one_message(asked, message):
    with pytest.raises(InputError, match=message):
        replace(load_recipe("final"), surgery=asked)


def test_no_block_can_be_frozen_beside_a_surgery():
    with pytest.raises(InputError, match="kept_stride must be 0"):
        replace(load_recipe("low_rank"), kept_stride=8)


def test_a_share_that_would_remove_everything_is_refused():
    with pytest.raises(InputError, match=r"share 0\.99 would prune all 26 inputs of blocks"):
        _training("prune_inputs", share=0.99)
