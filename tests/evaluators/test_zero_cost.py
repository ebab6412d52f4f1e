"""Zero-cost scores: each passes its suite; against naive computations, what must not change them, and anchors."""

import importlib
import math
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from every_block import every_block
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import nn

from evaluators import zero_cost
from evaluators.zero_cost import scores, vote
from nas.testing import check_score
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.ops.activation import Act
from search_spaces.task import Task

TASK = Task((3, 16, 16), 10)
NAMES = zero_cost.names()
ACTS = [act for act in get_args(Act) if act != "none"]
BODIES = every_block() | {f"act {act}": f"inverted_residual 24/1 act={act} se=0.25" for act in get_args(Act)}
ANCHORS = [
    "mobilenet_v2",
    "mobilenet_v3:small",
    "mobilenet_v4",
    "shufflenet_v2:0.5",
    "espnet_v2",
    "shiftnet:B",
    "fe_net",
    "as_resnet",
]


def made(text, task=TASK, seed=0):
    torch.manual_seed(seed)
    return build(Genotype.parse(text), task)


def batch(count=6, task=TASK):
    images = torch.randn(count, *task.input, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % task.classes


def score(name, network, images=None, labels=None, seed=0):
    module = importlib.import_module(f"evaluators.zero_cost.{name}")
    given_images, given_labels = batch()
    images = given_images if images is None else images
    labels = given_labels if labels is None else labels
    return module.score(network, images, labels, torch.Generator().manual_seed(seed))


def drawn(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def normalised(x):
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


def log_det_of_agreement(codes):
    """codes [B, units] of booleans: the definition, pair by pair."""
    return np.linalg.slogdet([[sum(a == b for a, b in zip(x, y, strict=True)) for y in codes] for x in codes])[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_what_a_search_needs(name):
    check_score(name)


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors_are_scored(name):
    task = Task((3, 32, 32), 10)
    found = scores(anchor(name).genotype, task, *batch(4, task), seed=0)
    assert sorted(found) == NAMES and all(map(math.isfinite, found.values()))


def test_synflow_is_the_product_of_absolute_weights():
    network = made("conv 4/1 norm=no act=relu6\nconv 5/2 act=swish\nhead", Task((3, 6, 6), 2))

    def convolved(x, weight, stride):
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        size = range(0, x.shape[1] - 2, stride)
        return np.array([[[(w * x[:, i : i + 3, j : j + 3]).sum() for j in size] for i in size] for w in weight])

    first, second, last = (
        np.abs(module.weight.detach().double().numpy())
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    )
    x = convolved(convolved(np.ones((3, 6, 6)), first, 1), second, 2) / math.sqrt(1 + 1e-5)
    carried = (last @ x.mean((1, 2))).sum()
    # the output is linear in each of three layers, so each layer's sum of w dR/dw is R
    assert score("synflow", network, torch.zeros(2, 3, 6, 6)) == pytest.approx(math.log(3 * carried), abs=1e-9)


@pytest.mark.parametrize("body", BODIES)
def test_synflow_is_linear_in_a_layer_whatever_follows(body):
    network = made(f"conv 24/1\n{BODIES[body]}\nhead")
    before = score("synflow", network)
    network.get_parameter("blocks.0.layers.0.weight").data.mul_(1024)
    assert score("synflow", network) == pytest.approx(before + math.log(1024), abs=1e-9)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_synflow_does_not_see_signs_of_weights_or_images(seed):
    network = made("conv 8/2\ninverted_residual 8/1 se=0.25 act=hard_swish\nshuffle 16/2\nhead")
    before = score("synflow", network)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.mul_(torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1)
    assert score("synflow", network, -batch()[0]) == before


def test_synflow_of_many_layers_does_not_overflow():
    deep = made("conv 64/1\n" + "add act=relu\n  |\n  | conv 64/1\n    conv 64/1 act=none\n" * 50 + "head", Task((3, 8, 8), 10))
    found = score("synflow", deep, torch.zeros(2, 3, 8, 8))
    assert math.isfinite(found) and found > math.log(torch.finfo(torch.float32).max)


@pytest.mark.parametrize("act", ACTS)
def test_naswot_counts_units_that_agree_for_each_activation(act):
    network, (images, _) = made(f"conv 4/2 act={act}\nhead"), batch()
    before_act = normalised(F.conv2d(images, network.get_parameter("blocks.0.layers.0.weight"), None, 2, 1))
    expected = log_det_of_agreement((before_act > 0).flatten(1).tolist())
    assert score("naswot", network, images) == pytest.approx(expected, abs=1e-6)


def test_naswot_counts_units_of_all_layers_and_gates():
    network, (images, _) = made("conv 4/2\ninverted_residual 4/1 expand=2 se=0.5 act=relu\nhead"), batch()
    seen = []
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.Hardsigmoid):
            module.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0] > 0).flatten(1)))
    network(images)
    assert len(seen) == 5
    expected = log_det_of_agreement(torch.cat(seen, 1).tolist())
    assert score("naswot", network, images) == pytest.approx(expected, abs=1e-6)


def test_naswot_of_equal_images_is_lowest():
    network, (images, _) = made("conv 8/2\ninverted_residual 8/1 act=relu\nhead"), batch()
    twice = images[[0, 0, 1, 2, 3, 4]]
    nearly = twice + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    equal, near, distinct = (score("naswot", network, x) for x in (twice, nearly, images))
    assert equal < near - 10 < near < distinct


@given(order=st.permutations(range(6)), scale=st.floats(0.1, 10))
@settings(max_examples=20)
def test_naswot_knows_neither_the_order_of_images_nor_the_scale_of_weights(order, scale):
    network, (images, _) = made("conv 8/2\nconv 8/1 act=hard_swish\nhead"), batch()
    expected = score("naswot", network, images)
    for name in ("blocks.0", "blocks.1"):
        network.get_parameter(f"{name}.layers.0.weight").data.mul_(scale)
    assert score("naswot", network, images[list(order)]) == pytest.approx(expected, abs=0.1)  # a unit at 0 may tip over


def test_zen_is_the_change_times_what_batch_norms_divided_by():
    network, (images, _) = made("conv 4/1\nconv 5/2 act=leaky_relu\nhead"), batch()
    first, second, _, x, e = drawn((4, 3, 3, 3), (5, 4, 3, 3), (10, 5), images.shape, images.shape)
    scales = []

    def features(image):
        a = F.conv2d(image, first, None, 1, 1)
        b = F.conv2d(F.relu(normalised(a)), second, None, 2, 1)
        scales.append([float(y.var((0, 2, 3), correction=0).mean()) for y in (a, b)])
        return F.leaky_relu(normalised(b), 0.1)

    change = (features(x) - features(x + 0.01 * e)).flatten(1).norm(dim=1).mean()
    expected = math.log(change) + 0.5 * sum(map(math.log, scales[0]))
    assert score("zen", network, images) == pytest.approx(expected, abs=1e-3)


def test_zen_depends_on_neither_images_nor_labels_nor_weights():
    first, other = (made("conv 8/2\ninverted_residual 8/1\nhead", seed=seed) for seed in (0, 1))
    images, labels = batch()
    assert score("zen", first) == score("zen", other, 100 * images + 5, labels.flip(0)) != score("zen", first, seed=1)


def test_zen_grows_with_depth():
    found = [score("zen", made(f"conv 8/1 x{depth}\nhead")) for depth in range(1, 6)]
    assert found == sorted(found)


def test_grad_norm_is_that_of_differences():
    task = Task((3, 4, 4), 4)
    network = made("conv 3/1 kernel=1 act=swish\nhead", task).double()
    images, labels = batch(4, task)
    images = images.double()

    def loss():
        return float(F.cross_entropy(network(images), labels).detach())

    def slope(weight, place, step=1e-5):
        kept = float(weight[place])
        weight[place] = kept + step
        above = loss()
        weight[place] = kept - step
        below = loss()
        weight[place] = kept
        return (above - below) / (2 * step)

    matrices = [m.weight.data.view(-1) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    expected = sum(math.hypot(*(slope(weight, i) for i in range(len(weight)))) for weight in matrices)
    assert score("grad_norm", network, images, labels) == pytest.approx(expected, rel=1e-6)


def test_scores_follow_from_the_seed_alone():
    genotype = Genotype.parse("conv 8/2\neesp 16/2\nfe 16/1\nhead dropout=0.5")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = scores(genotype, TASK, *batch(), seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert found == scores(genotype, TASK, *batch(), seed=3)
    assert all(value != found[name] for name, value in scores(genotype, TASK, *batch(), seed=4).items())
    for name in NAMES:
        assert scores(genotype, TASK, *batch(), seed=3, names=[name]) == {name: found[name]}


def test_what_is_not_finite_is_minus_infinity():
    images, labels = batch()
    images[0, 0, 0, 0] = math.inf
    found = scores(Genotype.parse("conv 8/2\nhead"), TASK, images, labels, seed=0)
    assert found["grad_norm"] == found["naswot"] == -math.inf
    assert math.isfinite(found["synflow"]) and math.isfinite(found["zen"])


def test_a_wrong_name_is_refused_with_the_near_miss():
    with pytest.raises(InputError, match='no zero-cost score "synflo"; did you mean "synflow"'):
        scores(Genotype.parse("conv 8/2\nhead"), TASK, *batch(), seed=0, names=["synflo"])


VALUES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(table=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=12))
def test_the_vote_is_the_mean_rank_and_what_is_not_finite_ranks_last(table):
    known = np.array([[v if math.isfinite(v) else -100.0 for v in row] for row in table])
    expected = (rankdata(known, axis=0) - 0.5).mean(1) / len(table)
    found = vote([dict(zip("abc", row, strict=True)) for row in table])
    assert found == pytest.approx(expected.tolist()) and all(0 < value < 1 for value in found)


def test_the_vote_on_no_networks_is_empty():
    assert vote([]) == []


def test_nothing_heavy_is_imported_before_networks_are_scored():
    code = "import sys; from evaluators import zero_cost; zero_cost.names(); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
