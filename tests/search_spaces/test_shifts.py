"""Grouped, active and sparse shifts and their blocks: against loops over pixels, by their gradients, and as ONNX."""

import io
import warnings
from collections import Counter
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from evaluators.counting import macs_conv_fc, macs_with_shifts
from evaluators.onnx import export_onnx, onnx_difference
from search_spaces.anchor import anchor
from search_spaces.blocks.fe import Fe
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import build, build_block
from search_spaces.ops.active_shift import ActiveShift
from search_spaces.ops.learnt_shift import LearntShift, freeze_offsets
from search_spaces.ops.shift import GroupedShift, grouped_shift
from search_spaces.ops.sparse_shift import SparseShift
from search_spaces.task import Task

SIZES = [(1, 1), (1, 4), (2, 3), (7, 5)]
Pair = tuple[float, float]


def read(x: Tensor, h: int, w: int) -> Tensor:
    """x [N, H, W] at one pixel, zero outside."""
    inside = 0 <= h < x.shape[1] and 0 <= w < x.shape[2]
    return x[:, h, w] if inside else torch.zeros_like(x[:, 0, 0])


def interpolated(x: Tensor, h: float, w: float) -> Tensor:
    """x [N, H, W] bilinearly between the four pixels around a place."""
    top, left = floor(h), floor(w)
    dh, dw = h - top, w - left
    upper = (1 - dw) * read(x, top, left) + dw * read(x, top, left + 1)
    lower = (1 - dw) * read(x, top + 1, left) + dw * read(x, top + 1, left + 1)
    return (1 - dh) * upper + dh * lower


def naive(x: Tensor, offsets: list[Pair], stride: int = 1) -> Tensor:
    """Every channel of x [N, C, H, W] read at its own offset, pixel by pixel."""
    height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
    out = x.new_empty((*x.shape[:2], height, width))
    for c, (rows, cols) in enumerate(offsets):
        for h in range(height):
            for w in range(width):
                out[:, c, h, w] = interpolated(x[:, c], h * stride + rows, w * stride + cols)
    return out


def shifts(module: LearntShift) -> list[Pair]:
    return list(zip(module.row_offsets.tolist(), module.col_offsets.tolist(), strict=True))


def active(channels: int, stride: int = 1, spread: float = 2.5, seed: int = 0) -> ActiveShift:
    """An active shift with random offsets, well away from whole numbers, where it has no derivative."""
    module = ActiveShift(channels, stride).double()
    generator = torch.Generator().manual_seed(seed)
    for offsets in (module.row_offsets, module.col_offsets):
        whole = torch.empty(channels).uniform_(-spread, spread, generator=generator).floor()
        offsets.data = whole.double() + torch.empty(channels).uniform_(0.1, 0.9, generator=generator)
    return module.eval()


def whole(channels: int, stride: int = 1, seed: int = 0) -> ActiveShift:
    """An active shift whose offsets are whole numbers."""
    module = active(channels, stride, seed=seed)
    for offsets in (module.row_offsets, module.col_offsets):
        offsets.data.floor_()
    return module.eval()


def maps(channels: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(2, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exported(module: nn.Module, x: Tensor) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    return onnx.load_from_string(file.getvalue())


def run_onnx(model: onnx.ModelProto, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels, kernel, dilation", [(20, 3, 1), (9, 3, 2), (18, 3, 1), (27, 5, 1), (8, 3, 1), (1, 7, 1)])
@pytest.mark.parametrize("order", ["contiguous", "modulo"])
def test_grouped_shift_is_the_loop(order: Any, channels: int, kernel: int, dilation: int, size: tuple[int, int]) -> None:
    groups, half = kernel**2, kernel // 2
    each, places = channels // groups, [dilation * (i - half) for i in range(kernel)]
    grid: list[Pair] = [(float(r), float(c)) for r in places for c in places]
    if order == "modulo":
        offsets = [grid[c % groups] if c < each * groups else (0.0, 0.0) for c in range(channels)]
    else:
        counts = [each + (channels % groups if place == (0, 0) else 0) for place in grid]
        offsets = [place for place, count in zip(grid, counts, strict=True) for _ in range(count)]
    module = GroupedShift(channels, kernel, dilation, order)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = maps(channels, size).to(memory_format=memory_format).requires_grad_()
        expected = naive(x, offsets)
        weights = torch.randn_like(expected)
        wanted = torch.autograd.grad(expected, x, weights)[0]
        assert torch.equal(grouped_shift(x, kernel, dilation, order), expected)
        for mode in (True, False):
            y = module.train(mode)(x)
            assert torch.equal(y, expected)
            assert torch.equal(torch.autograd.grad(y, x, weights)[0], wanted)


def test_orders_of_the_grouped_shift_are_the_same_network_renumbered() -> None:
    x, channels = maps(29, (5, 6)), torch.arange(27)
    order = torch.cat([channels.view(3, 9).T.flatten(), torch.tensor([27, 28])])
    sorted_shift = grouped_shift(torch.cat([x[:, order[:27]], x[:, 27:]], 1)[:, :27], 3)
    assert torch.equal(grouped_shift(x, 3, order="modulo")[:, order[:27]], sorted_shift)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("spread", [1.0, 3.0, 9.0])
def test_active_shift_is_the_loop(spread: float, stride: int, size: tuple[int, int]) -> None:
    module = active(12, stride, spread)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = maps(12, size).to(memory_format=memory_format)
        expected = naive(x, shifts(module), stride)
        for mode in (True, False):
            torch.testing.assert_close(module.train(mode)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mode", [True, False])
def test_gradients_of_the_active_shift(mode: bool, stride: int, size: tuple[int, int]) -> None:
    module = active(4, stride).train(mode)

    def run(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        return functional_call(module, {"row_offsets": rows, "col_offsets": cols}, (x,))  # type: ignore[no-any-return]

    offsets = (p.detach().clone().requires_grad_() for p in (module.row_offsets, module.col_offsets))
    assert torch.autograd.gradcheck(run, (maps(4, size).requires_grad_(), *offsets))


@pytest.mark.parametrize("stride", [1, 2])
def test_whole_offsets_move_data_as_the_sparse_shift_does(stride: int) -> None:
    module, sparse = whole(12, stride), SparseShift(12).double()
    sparse.load_state_dict(module.state_dict())
    x = maps(12, (7, 6))
    expected = sparse.eval()(x)[:, :, ::stride, ::stride]
    assert torch.equal(module(x), expected)
    assert torch.equal(expected, naive(x, shifts(module), stride))
    torch.testing.assert_close(module.train()(x), expected)


def test_active_offsets_start_uniform_and_need_no_sorting() -> None:
    module = ActiveShift(4000)
    assert [name for name, _ in module.named_parameters()] == ["row_offsets", "col_offsets"]
    for offsets in (module.row_offsets, module.col_offsets):
        assert offsets.min() >= -1 and offsets.max() <= 1 and abs(offsets.mean().item()) < 0.05
        assert offsets.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert module.plan().order == () and len(module.plan().moves) == 4


@pytest.mark.parametrize("size", SIZES)
def test_backward_of_the_sparse_shift_is_its_definition(size: tuple[int, int]) -> None:
    """The input's gradient by the rounded shift, half away from zero; the offsets' by interpolation at their real values."""
    module, smooth = SparseShift(13).double(), active(13)
    offsets = [0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.3, 0.4, -0.6, 1.2, -3.1, 7.3, 0.7]
    for each in (module, smooth):
        each.row_offsets.data, each.col_offsets.data = torch.tensor(offsets), torch.tensor(offsets[::-1])
        each.double().train()
    away = [float(floor(abs(v) + 0.5) * (1 if v > 0 else -1)) for v in offsets]
    x = maps(13, size).requires_grad_()
    weights = torch.randn_like(x)
    y, moved = module(x), naive(x, list(zip(away, away[::-1], strict=True)))
    assert torch.equal(y, moved)
    assert torch.equal(torch.autograd.grad(y, x, weights, retain_graph=True)[0], torch.autograd.grad(moved, x, weights)[0])
    y.backward(weights)
    smooth(x).backward(weights)
    for name in ("row_offsets", "col_offsets"):
        torch.testing.assert_close(module.get_parameter(name).grad, smooth.get_parameter(name).grad)


def test_frozen_offsets_stay_and_all_else_learns() -> None:
    block = nn.Sequential(nn.Conv2d(8, 8, 1), ActiveShift(8), SparseShift(8), nn.Conv2d(8, 8, 1))
    freeze_offsets(block)
    block.train()(torch.randn(2, 8, 5, 5)).sum().backward()
    without = {name for name, p in block.named_parameters() if p.grad is None}
    assert without == {f"{i}.{side}_offsets" for i in (1, 2) for side in ("row", "col")}
    freeze_offsets(block, False)
    assert all(p.requires_grad for p in block.parameters())


def test_penalty_is_the_l1_norm_of_the_offsets() -> None:
    module = active(6)
    expected = sum(abs(r) + abs(c) for r, c in shifts(module))
    assert module.penalty().item() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 40)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_active_shift_in_onnx(spread: float, stride: int, size: tuple[int, int]) -> None:
    module = active(20, stride, spread).float()
    x = maps(20, size)[:1].float()
    model = exported(module, x)
    np.testing.assert_allclose(run_onnx(model, x), module(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Conv":
            assert list(attributes["kernel_shape"].ints) == [2, 2] and attributes["group"].i == 20


def test_small_maps_of_many_cells_are_sampled_in_onnx_and_large_ones_convolved() -> None:
    module = active(20, 1, 3.0).float()
    found = {size: Counter(n.op_type for n in exported(module, torch.randn(1, 20, size, size)).graph.node) for size in (7, 40)}
    assert [(found[size]["GridSample"], found[size]["Conv"]) for size in (7, 40)] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    "module",
    [GroupedShift(20, 3), GroupedShift(20, 3, 2, "modulo"), SparseShift(20), whole(20).float(), whole(20, 2).float()],
    ids=["contiguous", "modulo", "sparse", "active", "active strided"],
)
def test_whole_shifts_only_move_data_in_onnx(module: nn.Module) -> None:
    x = torch.randn(1, 20, 7, 6)
    model = exported(module.eval(), x)
    moves = {"Split", "Pad", "Slice", "Concat", "Gather", "Reshape", "Transpose"}
    constants = {"Constant", "ConstantOfShape", "Cast", "Identity", "Unsqueeze", "Squeeze", "Shape"}
    assert {node.op_type for node in model.graph.node} <= moves | constants
    assert np.array_equal(run_onnx(model, x), module(x).detach().numpy())


def test_a_network_of_active_shifts_exports(tmp_path: Path) -> None:
    task = Task((3, 32, 32), 10)
    network = build(anchor("asnet_cifar:16x1").genotype, task)
    for module in network.modules():
        if isinstance(module, ActiveShift):
            nn.init.uniform_(module.row_offsets, -2, 2)
    export_onnx(network, task, tmp_path / "network.onnx")
    assert onnx_difference(network, tmp_path / "network.onnx", task) < 1e-4


def test_shapes_need_no_values() -> None:
    with torch.device("meta"):
        for stride in (1, 2):
            module, x = ActiveShift(6, stride), torch.empty(1, 6, 7, 4)
            assert module.train()(x).shape == module.eval()(x).shape == (1, 6, -(-7 // stride), -(-4 // stride))


def test_interpolation_counts_four_operations_an_element() -> None:
    genotype = Genotype.parse("conv 8/1\nactive_shift /2\nactive_shift\nhead\n")
    task = Task((3, 9, 9), 10)
    assert macs_with_shifts(genotype, task) - macs_conv_fc(genotype, task) == 4 * 2 * 8 * 5 * 5


@pytest.mark.parametrize("kind", ["grouped_shift", "active_shift", "sparse_shift"])
def test_blocks_of_one_shift_keep_the_width(kind: str) -> None:
    spec = BlockSpec.make(kind)
    assert spec.out_width(11) == 11
    assert build_block(spec, 11, 10)(torch.randn(2, 11, 4, 4)).shape == (2, 11, 4, 4)


def test_pooling_units_expand_their_output_where_the_authors_code_does() -> None:
    def middles(stride: int) -> list[int]:
        block = Fe(16, 32, stride, units=2, expand=3, pool_expands="output")
        return [m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)][::2]

    assert middles(2) == [24, 96] and middles(1) == [24, 48]
