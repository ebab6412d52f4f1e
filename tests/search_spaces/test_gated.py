"""Gated residual blocks decide, mix and skip as SkipNet does; its anchors have the authors' counts."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from evaluators.cost import cost
from evaluators.dynamic import expected_macs, gated_blocks
from evaluators.onnx import export_onnx, onnx_difference
from search_spaces.anchor import anchor
from search_spaces.blocks.gated import Gated, Lstm
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build, build_block, initialise, run_block
from search_spaces.task import Task

TASK = Task((3, 16, 16), 5)
EVERY_GATE = ["ff1", "ff2", "rnn"]
GATES = 5
TEXT = """
conv 8/1
gated gate={gate}
  | add act=relu x3
      | conv 8/1
        conv 8/1 act=none
      |
    add act=relu
      | conv 12/2
        conv 12/1 act=none
      | conv 12/2 kernel=1 act=none
    add act=relu x2
      | conv 12/1
        conv 12/1 act=none
      |
head
"""
# anchor: params of the authors' code, MACs of the network without gates, MACs of all gates (the unused one, but no LSTM),
# those of the unused gate, MACs of the LSTM for one gate, computation percentage that is published
SKIPNETS = {
    "38-rnn": (571913, 83280512, 6900, 650, 800, "70.272"),
    "74-rnn": (1162109, 168215168, 13800, 650, 800, "52.34"),
    "110-rnn": (1752305, 253149824, 20700, 650, 800, "49.526"),
    "38-ff1": (1148798, 83280512, 13272384, 737408, 0, None),
    "74-ff1": (2316770, 168215168, 26544768, 737408, 0, None),
    "110-ff2": (2609798, 253149824, 31854528, 589952, 0, None),
    "50-rnn": (None, 4089184256, None, None, 800, None),
    "101-rnn": (None, 7801405440, None, None, 800, "84.976"),
}
every_gate = pytest.mark.parametrize("gate", EVERY_GATE)
every_skipnet = pytest.mark.parametrize("variant", SKIPNETS)


def genotype(gate: str) -> Genotype:
    return Genotype.parse(TEXT.format(gate=gate))


def stripped(network: Genotype) -> Genotype:
    """The genotype with the blocks of `gated` in its place: they always run."""
    return Genotype.of(inner for spec in network.blocks for inner in (spec.branches[0] if spec.kind == "gated" else [spec]))


def varied(gate: str, seed: int = 0) -> tuple[Network, Any]:
    """A network in eval mode, and its gated block, whose decisions differ from gate to gate and from image to image."""
    torch.manual_seed(seed)
    network = build(genotype(gate), TASK).eval()
    gated: Any = network.blocks[1]
    for parameter in gated.gates.parameters():
        nn.init.normal_(parameter)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network, gated


def images(count: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, *TASK.input) * torch.linspace(0.2, 3, count)[:, None, None, None]


def feed_forward_probability(gate: str, layers: Any, x: Tensor) -> float:
    """FFGate-I or FFGate-II on one feature map."""
    if gate == "ff1":
        _, first, second, _, last = layers
        x = second(first(max_pool2d(x, 2)))
    else:
        first, _, last = layers
        x = first(x)
    return float(last(avg_pool2d(x, x.shape[2:])).softmax(1)[0, 1, 0, 0])


class Recurrent:
    """RNNGate with torch's LSTM; remembers what it read since the image began."""

    def __init__(self, gates: Any) -> None:
        self.gates = gates
        self.lstm = nn.LSTM(10, 10)
        ours: Lstm = gates.lstm
        layers = {"ih": ours.read, "hh": ours.recall}
        self.lstm.load_state_dict({f"{n}_{k}_l0": getattr(m, n) for k, m in layers.items() for n in ("weight", "bias")})
        self.read: list[Tensor] = []

    def probability(self, x: Tensor) -> float:
        self.read.append(self.gates.projections[len(self.read)](x.mean((2, 3), keepdim=True)).flatten())
        outputs, _ = self.lstm(torch.stack(self.read))
        return float(self.gates.score(outputs[-1]).sigmoid())


def naive(gate: str, gated: Any, x: Tensor) -> tuple[Tensor, list[float]]:
    """What one feature map [1, C, H, W] becomes, block by block, and which blocks ran."""
    recurrent = Recurrent(gated.gates) if gate == "rnn" else None
    first, *later = gated.row.blocks
    x = first(x)
    ran = []
    for index, block in enumerate(later):
        p = recurrent.probability(x) if recurrent else feed_forward_probability(gate, gated.gates.gates[index], x)
        ran.append(float(p >= 0.5))
        x = block(x) if p >= 0.5 else block.branches[1](x)
    return x, ran


def count_calls(gated: Any) -> list[int]:
    """How often each later block's body ran since this was called; the list is kept up to date."""
    calls = [0] * GATES

    def counter(index: int) -> Any:
        def count(*_: Any) -> None:
            calls[index] += 1

        return count

    for index, block in enumerate(list(gated.row.blocks)[1:]):
        block.branches[0].register_forward_hook(counter(index))
    return calls


@every_gate
@torch.no_grad()
def test_decisions_and_mixing_are_those_of_a_plain_loop(gate: str) -> None:
    network, gated = varied(gate)
    x = network.blocks[0](images(16))
    y, decisions = gated.run(x)
    assert 0 < decisions.mean() < 1 and decisions.std(0).max() > 0
    for i in range(len(x)):
        expected, ran = naive(gate, gated, x[i : i + 1])
        assert decisions[i].tolist() == ran
        torch.testing.assert_close(y[i : i + 1], expected, rtol=1e-4, atol=1e-4)


@every_gate
@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone(gate: str) -> None:
    network, gated = varied(gate)
    batch = network(images(16))
    decisions = gated.decisions
    for image, logits, decided in zip(images(16), batch, decisions, strict=True):
        torch.testing.assert_close(network(image[None])[0], logits, rtol=1e-4, atol=1e-4)
        assert torch.equal(gated.decisions[0], decided)


@every_gate
@torch.no_grad()
def test_skipped_bodies_do_not_run(gate: str) -> None:
    network, gated = varied(gate)
    calls = count_calls(gated)
    total = torch.zeros(GATES)
    for image in images(16):
        network(image[None])
        total += gated.decisions[0]
    assert calls == total.tolist() and 0 < sum(calls) < 16 * GATES


@every_gate
def test_every_body_runs_in_training(gate: str) -> None:
    network, gated = varied(gate)
    calls = count_calls(gated)
    network.train()(images(4))
    assert calls == [1] * GATES


@every_gate
def test_gradient_reaches_every_gate_in_training(gate: str) -> None:
    network, gated = varied(gate)
    network.train()(images(8)).square().sum().backward()
    for name, parameter in gated.gates.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


class Fixed(nn.Module):
    """A gate of given probabilities [N, 1]."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.p = p

    def forward(self, index: int, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.p, state


def test_training_mixes_by_hard_decisions_whose_gradient_is_that_of_the_probability() -> None:
    text = "gated\n  | add act=relu x2\n      | conv 3/1 act=none\n      |\nhead"
    gated: Any = build(Genotype.parse(text), TASK).blocks[0].train()
    p = torch.tensor([[0.3], [0.5], [0.9]], requires_grad=True)
    gated.gates = Fixed(p)
    x, weights = torch.randn(2, 3, 3, 6, 6)
    first, second = gated.row.blocks
    skipped = first(x)
    executed = second(skipped)
    y, decisions = gated.run(x)
    assert decisions.flatten().tolist() == [0, 1, 1]
    torch.testing.assert_close(y, torch.cat([skipped[:1], executed[1:]]))
    (y * weights).sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad.flatten(), ((executed - skipped) * weights).sum((1, 2, 3)))


@every_gate
@torch.no_grad()
def test_onnx_computes_the_same_for_decisions_of_both_kinds(gate: str, tmp_path: Path) -> None:
    network, gated = varied(gate)
    export_onnx(network, TASK, tmp_path / "network.onnx")
    seen = set()
    for seed in range(8):
        assert onnx_difference(network, tmp_path / "network.onnx", TASK, seed) < 1e-4
        network(torch.randn(1, *TASK.input, generator=torch.Generator().manual_seed(seed)))
        seen |= set(gated.decisions.flatten().tolist())
    assert seen == {0.0, 1.0}


@every_gate
@pytest.mark.parametrize("c_in", [1, 5, 24])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_runs_and_learns_at_any_shape(gate: str, c_in: int, size: int) -> None:
    same = f"add act=relu x2\n      | conv {c_in}/1\n      |"
    changing = "add act=relu x2\n      | conv 12/2\n      | conv 12/2 kernel=1 act=none"
    module = build_block(Genotype.parse(f"gated gate={gate}\n  | {same}\n    {changing}\nhead").blocks[0], c_in, 5)
    initialise(module)
    x = torch.randn(2, c_in, size, size, requires_grad=True)
    y = module.train()(x)
    assert y.shape == (2, 12, -(-size // 4), -(-size // 4))
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    with torch.no_grad():
        assert module.eval()(x[:1]).isfinite().all()


def test_a_body_may_read_the_image() -> None:
    text = "gated\n  | add x2\n      | eesp 8/2 reinforce=yes\n      | conv 8/2\nhead"
    gated = build(Genotype.parse(text), TASK).blocks[0]
    assert run_block(gated, torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)).shape == (2, 8, 4, 4)


@pytest.mark.parametrize(
    "branches, message",
    [
        ("| conv 8/1\n  | conv 8/1", "exactly one branch is needed, with all gated blocks in sequence, not 2"),
        ("| add\n      | conv 3/1\n      |", "at least two blocks"),
        ("| add\n      | conv 3/1\n      |\n    conv 3/1", "block 2 of its branch is not an add of two branches"),
        ("| add x2\n      | conv 3/1\n      |\n      |", "block 1 of its branch is not an add of two branches"),
        ("| concat x2\n      | conv 3/1\n      |", "block 1 of its branch is not an add of two branches"),
    ],
)
def test_other_branches_are_refused(branches: str, message: str) -> None:
    with pytest.raises(InputError, match=f'block "gated" with 3 input channels: .*{message}'):
        build(Genotype.parse(f"gated\n  {branches}\nhead"), TASK)


@every_gate
def test_the_unused_gate_changes_no_output(gate: str) -> None:
    network, _ = varied(gate)
    with_unused = genotype(f"{gate} authors_unused=yes")
    full = build(with_unused, TASK).eval()
    missing = full.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert missing and all(f".{GATES}." in key for key in missing)
    assert torch.equal(full(images(2)), network(images(2)))
    assert cost(with_unused, TASK).macs == cost(genotype(gate), TASK).macs


def gate_macs(variant: str) -> int:
    known = anchor(f"skipnet:{variant}")
    return known.macs - cost(stripped(known.genotype), known.task).macs


@every_skipnet
def test_counts_are_the_authors(variant: str) -> None:
    known = anchor(f"skipnet:{variant}")
    params, base, gates, unused, lstm, _ = SKIPNETS[variant]
    assert cost(stripped(known.genotype), known.task).macs == base
    assert params in (known.params, None)
    if gates is not None and unused is not None:
        assert gate_macs(variant) == gates - unused + lstm * gated_blocks(known.genotype)


@pytest.mark.parametrize("variant, share", [("38-ff1", 0.156), ("110-ff2", 0.125), ("38-rnn", 0.00025)])
def test_a_gate_costs_a_small_share_of_a_residual_block(variant: str, share: float) -> None:
    known = anchor(f"skipnet:{variant}")
    residual_block = 2 * 9 * 64 * 64 * 8 * 8
    assert gate_macs(variant) / gated_blocks(known.genotype) / residual_block == pytest.approx(share, rel=0.02)


@every_skipnet
def test_expected_macs_are_linear_between_all_skipped_and_the_worst_case(variant: str) -> None:
    known = anchor(f"skipnet:{variant}")
    least, half, most = (expected_macs(known.genotype, known.task, rate) for rate in (0.0, 0.5, 1.0))
    assert most == known.macs
    assert half == (least + most) / 2
    assert gate_macs(variant) < least < half


@pytest.mark.parametrize("variant", [v for v, known in SKIPNETS.items() if known[-1]])
def test_published_shares_of_blocks_give_fewer_macs(variant: str) -> None:
    known, printed = anchor(f"skipnet:{variant}"), SKIPNETS[variant][-1]
    assert isinstance(printed, str) and f"computation percentage of {printed}" in known.notes
    gates = gated_blocks(known.genotype)
    rate = (float(printed) / 100 * (gates + 1) - 1) / gates
    expected = expected_macs(known.genotype, known.task, rate)
    assert expected / known.macs == pytest.approx(float(printed) / 100, abs=0.02)


def bodies(gate: str) -> Iterator[int]:
    """MACs of the bodies that have a gate, by hand."""
    yield from [2 * 9 * 8 * 8 * 16 * 16] * 2
    yield (9 * 8 * 12 + 9 * 12 * 12) * 8 * 8
    yield from [2 * 9 * 12 * 12 * 8 * 8] * 2


@every_gate
def test_each_body_counts_by_its_own_rate(gate: str) -> None:
    worst = cost(genotype(gate), TASK).macs
    for index, body in enumerate(bodies(gate)):
        rates = [1.0] * GATES
        rates[index] = 0.25
        assert expected_macs(genotype(gate), TASK, rates) == worst - 0.75 * body


def test_gates_inside_a_skipped_body_count_as_often_as_they_are_reached() -> None:
    inner = "gated\n  | add x2\n      | conv 3/1 kernel=1\n      |\n"
    text = "gated\n  | add x2\n      | " + inner.replace("\n", "\n        ").rstrip() + "\n      |\nhead"
    network = Genotype.parse(text)
    pointwise = 3 * 3 * 16 * 16
    inside = cost(Genotype.parse(inner + "head"), TASK).macs - 3 * 5
    assert gated_blocks(network) == 3
    worst, least = (expected_macs(network, TASK, rate) for rate in (1.0, 0.0))
    assert worst - least == pointwise + inside
    assert worst - expected_macs(network, TASK, [1.0, 0.5, 0.0]) == 0.5 * inside + 0.5 * pointwise


@pytest.mark.parametrize("rates, message", [([0.5], "1 rates given for 5 gated blocks"), (1.5, "rates must be 0 to 1")])
def test_wrong_rates_are_refused(rates: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expected_macs(genotype("rnn"), TASK, rates)


def test_a_network_without_gates_always_runs() -> None:
    plain = anchor("mobilenet_v2")
    assert gated_blocks(plain.genotype) == 0
    assert expected_macs(plain.genotype, plain.task, 0.0) == plain.macs


def test_decisions_are_left_behind_but_no_part_of_the_state() -> None:
    network, gated = varied("rnn")
    assert isinstance(gated, Gated) and gated.decisions is None
    network(images(3))
    assert gated.decisions is not None and gated.decisions.shape == (3, GATES)
    assert not any("decisions" in key for key in copy.deepcopy(network).state_dict())
