"""Training: the recipe's errors, batches without copies, the learning rate, a loop that learns, repeats and fails honestly."""

import math
import platform
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from evaluators.training import loop
from evaluators.training.average import averaged
from evaluators.training.batches import Batches
from evaluators.training.groups import optimizer_of
from evaluators.training.loop import TrainingFailed, accuracy, epochs, seeded_network
from evaluators.training.recipe import RECIPES, load_recipe
from evaluators.training.schedule import class_weights
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.ops.activation import Act, activation
from search_spaces.task import Task

CPU = torch.device("cpu")
RECIPE = load_recipe("proxy")
PLAIN = replace(RECIPE, least_images=0, crop_padding=0.0, flip=False)
NETWORK = Genotype.parse("conv 8/1\nfe 16/2 units=2 expand=2\ninverted_residual 16/1 expand=2 act=relu\nhead")


def noisy(n: int = 96, size: int = 8, classes: int = 3) -> Batches:
    """Noisy images whose class is the brightest channel."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % classes
    images = rng.integers(0, 100, (n, 3, size, size)).astype(np.uint8)
    images[np.arange(n), labels] += 120
    return Batches(images, labels, (0.4,) * 3, (0.25,) * 3, CPU)


@pytest.mark.parametrize("name", RECIPES.names())
def test_every_recipe_reads(name):
    recipe = load_recipe(name)
    assert recipe.epochs >= 1
    assert load_recipe(name, epochs=7) == replace(recipe, epochs=7)


def test_class_weights_are_scikit_learns_balanced_ones_and_make_the_loss_fair():
    labels = torch.tensor([0] * 190 + [1] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(2), y=labels.numpy())
    torch.testing.assert_close(class_weights(labels), torch.from_numpy(expected).float())
    accuracies = {}
    for weighted in (False, True):
        images = _noise(labels)
        recipe = replace(load_recipe("final"), epochs=8, class_weights=weighted, least_images=0, batch_size=32)
        network, generator = seeded_network(Genotype.parse("conv 8/2\nhead"), Task((3, 8, 8), 2), 0, CPU)
        for epoch in epochs(network, images, images, recipe, generator, metric="balanced_accuracy"):
            accuracies[weighted] = epoch.accuracy
    assert accuracies[False] < 0.6 < accuracies[True]


def _noise(labels):
    """Images of which the second class is a little brighter."""
    pixels = np.random.default_rng(0).integers(0, 200, (len(labels), 3, 8, 8)) + 50 * labels.numpy()[:, None, None, None]
    return Batches(pixels.astype(np.uint8), labels.numpy(), (0.4,) * 3, (0.25,) * 3, CPU)


def test_finalists_are_trained_as_candidates_are_but_on_all_images():
    assert load_recipe("final") == replace(load_recipe("proxy"), share=1.0)
    tuned, longer = load_recipe("finetune"), load_recipe("finetune_final")
    assert tuned.epochs < longer.epochs and longer == replace(tuned, epochs=longer.epochs, most_validated=longer.most_validated)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number, not 1.5"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epoch": 3}, 'unknown key "epoch"; did you mean "epochs"'),
        ({"momentum": "high"}, 'momentum must be a number, not "high"'),
        ({"learning_rate": -1.0}, "learning_rate must be at least 0"),
        ({"share": 0.0}, "share must be above 0"),
        ({"share": 1.5}, "share must be at most 1, not 1.5"),
        ({"ema": 1.0}, "ema must be at most"),
        ({"randaugment_magnitude": 31}, "randaugment_magnitude must be at most 30"),
        ({"flip": 1}, "flip must be true or false"),
        ({"warmup": 2.0}, "warmup must be at most 1, not 2.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, not nan"),
        ({"weight_decay": float("inf")}, "weight_decay must be a finite number, not inf"),
        ({"epochs": 10**30}, "epochs must be at most 1000000"),
        ({"batch_size": None}, "batch_size must be a whole number"),
        ({"optimizer": "adam"}, "optimizer must be 'sgd' or 'adamw', not \"adam\""),
        ({"optimizer": 1}, "optimizer must be 'sgd' or 'adamw', not 1"),
        ({"momentum": 1.0}, "momentum must be at most"),
        ({"head_rate": 0.0}, "head_rate must be above 0"),
        ({"layer_decay": 0.0}, "layer_decay must be above 0"),
        ({"layer_decay": 1.1}, "layer_decay must be at most 1, not 1.1"),
        ({"crop_scale": 1.5}, "crop_scale must be at most 1"),
        ({"crop_scale": 0.5}, "crop_scale and crop_padding are alternative random crops"),
        ({"colour": -0.1}, "colour must be at least 0"),
        ({"most_images": 100}, "most_images must be 0 (all) or at least least_images, 6000"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_message(tmp_path, change, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**vars(RECIPE), **change}))
    with pytest.raises(InputError) as error:
        load_recipe(str(path))
    assert message in str(error.value) and "mine.yaml" in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({k: v for k, v in vars(RECIPE).items() if k != "momentum"}))
    with pytest.raises(InputError, match='the key "momentum" is missing'):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_images_share_memory_with_read_only_arrays():
    images, labels = np.zeros((4, 3, 8, 8), np.uint8), np.zeros(4, np.int64)
    images.flags.writeable = labels.flags.writeable = False
    shared = Batches(images, labels, (0.0,) * 3, (1.0,) * 3, CPU)
    assert shared.images.data_ptr() == images.ctypes.data and shared.labels.data_ptr() == labels.ctypes.data


@given(share=st.floats(0.01, 1.0))
def test_a_share_has_its_part_of_every_class_and_is_always_the_same(share):
    whole = noisy(90)
    chosen = whole.share(share)
    assert torch.equal(chosen, whole.share(share)) and len(chosen.unique()) == len(chosen)
    counts = whole.labels[chosen].bincount(minlength=3)
    assert counts.tolist() == [max(1, round(share * 30))] * 3


def test_an_epoch_shows_every_image_once_in_channels_last():
    whole = noisy(50)
    seen = list(whole.epoch(torch.arange(50), replace(PLAIN, batch_size=16), torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in seen] == [16, 16, 16, 2]
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in seen)
    shown = torch.cat([images for images, _ in seen])
    distance = (shown[:, None] - whole.normalise(whole.images)[None]).abs().amax((2, 3, 4))
    assert sorted(distance.argmin(1).tolist()) == list(range(50)) and float(distance.amin(1).max()) < 1e-6


@given(n=st.integers(2, 40), least=st.integers(0, 100))
def test_a_small_set_is_shown_again_evenly(n, least):
    whole = noisy(n)
    recipe = replace(PLAIN, least_images=least, batch_size=8)
    batches = whole.epoch(torch.arange(n), recipe, torch.Generator().manual_seed(0))
    shown = torch.cat([images for images, _ in batches])
    assert max(n, least) - len(shown) in (0, 1)  # a last single image is left out
    times = (shown[:, None] - whole.normalise(whole.images)[None]).abs().amax((2, 3, 4)).argmin(1).bincount(minlength=n)
    assert int(times.max() - times.min()) <= 2


def test_learning_rate_warms_up_and_falls_to_zero():
    rates = [loop.rate(step, 100, 0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == rates[19] == 1.0
    assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.5) and 0 < rates[99] < 0.001


def test_weight_decay_spares_norms_biases_and_offsets():
    network, _ = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    decayed, spared = optimizer_of(network, RECIPE).param_groups
    names = {id(p): n for n, p in network.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim > 1 for p in decayed["params"])
    assert spared["weight_decay"] == 0 and any("offsets" in names[id(p)] for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_rates_follow_from_the_stage_and_the_classifier_has_its_own():
    network, _ = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    recipe = replace(RECIPE, head_rate=2.0, layer_decay=0.5, batch_size=64, learning_rate=0.2)
    rates = {id(p): group["lr"] for group in optimizer_of(network, recipe).param_groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    by_block = [{rates[id(p)] for p in block.parameters()} for block in network.blocks]
    assert by_block == [{0.05}, {0.1}, {0.1}, {0.2}]
    adamw = optimizer_of(network, replace(recipe, optimizer="adamw"))
    assert isinstance(adamw, torch.optim.AdamW)
    assert {group["lr"] for group in adamw.param_groups} == {0.1, 0.2, 0.4}  # as written, for batches of any size
    assert {group["weight_decay"] for group in adamw.param_groups} == {0.0, recipe.weight_decay}


def test_adamw_steps_as_torch_says():
    network, _ = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    recipe = replace(RECIPE, optimizer="adamw", learning_rate=0.01, weight_decay=0.1, momentum=0.8)
    weight = network.blocks[3].classifier[0].weight
    alone = nn.Parameter(weight.detach().clone())
    theirs, ours = torch.optim.AdamW([alone], 0.01, (0.8, 0.999), weight_decay=0.1), optimizer_of(network, recipe)
    for step in range(3):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 1.0 - step)
        alone.grad = weight.grad
        ours.step()
        theirs.step()
    torch.testing.assert_close(weight, alone)


@given(n=st.integers(4, 60), most=st.integers(1, 70), share=st.floats(0.3, 1.0))
def test_an_epoch_goes_on_where_the_last_ended_with_every_class(n, most, share):
    whole = noisy(n)
    recipe = replace(PLAIN, most_images=most, share=share)
    among, epoch = whole.share(share), loop.shown(whole, recipe)
    if most >= len(among):
        assert torch.equal(epoch(1), epoch(9)) and torch.equal(epoch(1), among)
        return
    numbers = range(1, len(among) + 1)
    seen = torch.cat([epoch(number) for number in numbers])
    assert set(seen.tolist()) == set(among.tolist()) and len(seen) == most * len(among)
    assert seen.bincount().max() == most  # all of them equally often
    for number in numbers:
        counts = whole.labels[epoch(number)].bincount(minlength=3) - most * whole.labels[among].bincount(minlength=3) / len(
            among
        )
        assert len(epoch(number)) == most and counts.abs().max() < 3


def test_a_large_set_takes_as_many_steps_as_the_schedule_has():
    network, generator = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    recipe = replace(PLAIN, epochs=3, share=1.0, most_images=40, batch_size=16)
    training = loop.Training(network, noisy(90), noisy(), recipe, generator)
    while not training.finished:
        training.epoch()
    assert training._schedule.last_epoch == 9 and training._schedule.get_last_lr() == [0.0, 0.0]


def _trained(seed: int, **changes):
    train = noisy()
    network, generator = seeded_network(NETWORK, Task((3, 8, 8), 3), seed, CPU)
    recipe = replace(RECIPE, epochs=6, share=1.0, least_images=0, batch_size=16, **{"learning_rate": 0.4} | changes)
    return network, [(e.number, e.loss, e.accuracy) for e in epochs(network, train, train, recipe, generator)]


def test_it_learns():
    network, curve = _trained(0)
    assert curve[-1][1] < curve[0][1] and accuracy(network, noisy()) > 0.9
    assert [number for number, _, _ in curve] == [1, 2, 3, 4, 5, 6]


def test_the_same_seed_trains_the_same_and_another_does_not():
    assert _trained(3)[1] == _trained(3)[1] != _trained(4)[1]


EVERYTHING = {"cutout": 0.25, "mixup": 0.2, "randaugment_ops": 2, "randaugment_magnitude": 3, "ema": 0.9}


def test_everything_on_learns_too_and_follows_from_the_seed_alone():
    torch.manual_seed(1)
    network, curve = _trained(5, **EVERYTHING)
    torch.manual_seed(2)
    assert curve == _trained(5, **EVERYTHING)[1] and accuracy(network, noisy()) > 0.8


TUNED = {"optimizer": "adamw", "learning_rate": 0.02, "head_rate": 2.0, "layer_decay": 0.7, "most_images": 64}


def test_it_learns_by_adamw_too():
    assert _trained(0, **TUNED)[1][-1][2] > 0.9


@pytest.mark.parametrize(
    "change",
    [
        *({"cutout": 0.25}, {"mixup": 0.2}, {"randaugment_ops": 1}, {"flip": False}),
        *({"crop_scale": 0.3, "crop_padding": 0.0}, {"colour": 0.2}),
        *({"most_images": 64}, {"optimizer": "adamw"}, {"head_rate": 2.0}, {"layer_decay": 0.7}),
    ],
)
def test_each_part_of_a_recipe_has_an_effect(change):
    assert _trained(3, **change)[1] != _trained(3)[1]


def test_the_averaged_weights_are_the_ones_that_are_evaluated_and_kept(monkeypatch):
    kept, curve = _trained(0, ema=0.8, learning_rate=0.05)
    by_hand, step = [], loop.Training._step

    def noted(self, images, labels):
        loss = step(self, images, labels)
        by_hand[:] = by_hand or [averaged(self.network, 0.8)]
        by_hand[0].update_parameters(self.network)
        return loss

    monkeypatch.setattr(loop.Training, "_step", noted)
    last, _ = _trained(0, learning_rate=0.05)
    [expected], found = by_hand, kept.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.module.state_dict().items())
    assert not torch.equal(found["blocks.0.layers.0.weight"], last.state_dict()["blocks.0.layers.0.weight"])
    assert curve[-1][2] == accuracy(expected.module, noisy())


def test_a_share_trains_on_as_many_images():
    seen = []

    class Counted(Batches):
        def epoch(self, among, recipe, generator):
            seen.append(len(among))
            return super().epoch(among, recipe, generator)

    whole = noisy(90)
    part = Counted(whole.images.numpy(), whole.labels.numpy(), (0.4,) * 3, (0.25,) * 3, CPU)
    network, generator = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    list(epochs(network, part, whole, replace(PLAIN, epochs=1, share=0.5), generator))
    assert seen == [45]


@pytest.mark.parametrize("rate", [1e30, math.nan])
def test_a_loss_that_is_not_finite_is_a_failure_with_its_place(rate):
    network, generator = seeded_network(NETWORK, Task((3, 8, 8), 3), 0, CPU)
    recipe = replace(RECIPE, epochs=3, least_images=0, batch_size=16, learning_rate=rate)
    with pytest.raises(TrainingFailed, match=r"the loss was (nan|inf) in epoch \d"):
        list(epochs(network, noisy(), noisy(), recipe, generator))


def test_accuracy_counts_every_image_in_eval_mode():
    class Brightest(nn.Module):
        def forward(self, x):
            assert not self.training
            return x.mean((2, 3))

    assert accuracy(Brightest(), noisy(97)) == 1.0


FAULTS = """
import resource, sys
import numpy as np
import torch
from evaluators.training import loop
from evaluators.training.batches import Batches
from evaluators.training.recipe import load_recipe
from search_spaces.genotype import Genotype
from search_spaces.task import Task

if sys.argv[1] == "given back":
    loop.keep_heap = lambda: None
torch.set_num_threads(1)
text = "conv 32/1 act=relu6\\ninverted_residual 32/1 expand=3 x2\\ninverted_residual 64/2 expand=6 x2\\nhead"
network, generator = loop.seeded_network(Genotype.parse(text), Task((3, 32, 32), 10), 0, torch.device("cpu"))
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (384, 32, 32, 3), np.uint8).transpose(0, 3, 1, 2)
some = Batches(images, rng.integers(0, 10, 384), (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))
training = loop.Training(network, some, some, load_recipe("final"), generator)
faults = []
for number, (images, labels) in enumerate(some.epoch(torch.arange(384), training.recipe, generator)):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    training._step(images, labels)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    if number == 14:  # the heap still grows in the first steps
        break
print(sorted(faults[8:])[len(faults[8:]) // 2])
"""


@pytest.mark.skipif(not platform.libc_ver()[0].startswith("glibc"), reason="the heap of glibc")
def test_a_step_of_training_faults_no_pages_in():
    def faults(heap):
        run = subprocess.run([sys.executable, "-c", FAULTS, heap], check=True, capture_output=True, text=True)
        return int(run.stdout)

    assert 20 * faults("kept") < faults("given back")


@pytest.mark.parametrize("name", get_args(Act))
def test_activations_in_training_and_in_eval_mode_are_the_same(name):
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layer = activation(name, 3)
    outputs = [layer.train(training)(x * 1.0) for training in (True, False)]
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in outputs]
    assert torch.equal(*outputs) and torch.equal(*gradients)
