"""Shifts against naive loops and written formulas, and as ONNX: data movement that gives the same numbers."""

import copy
import io
import warnings
from collections.abc import Iterator
from math import floor

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from search_spaces.blocks.csc import Csc
from search_spaces.blocks.fe import Fe
from search_spaces.ops.shift import GroupedShift, fold_permutations, grouped_shift
from search_spaces.ops.sparse_shift import SparseShift

SIZES = [(1, 1), (2, 3), (7, 5)]


def pixel(x: Tensor, h: int, w: int) -> Tensor:
    """x [N, H, W] at one place for every image, zero outside."""
    inside = 0 <= h < x.shape[1] and 0 <= w < x.shape[2]
    return x[:, h, w] if inside else torch.zeros_like(x[:, 0, 0])


def naive(x: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """Every channel shifted by its own (rows, cols), pixel by pixel."""
    out = torch.empty_like(x)
    for c, (rows, cols) in enumerate(offsets):
        for h in range(x.shape[2]):
            for w in range(x.shape[3]):
                out[:, c, h, w] = pixel(x[:, c], h + rows, w + cols)
    return out


def round_away(value: float) -> int:
    return floor(abs(value) + 0.5) * (1 if value > 0 else -1)


def scattered(channels: int, seed: int = 0, spread: float = 2.5) -> SparseShift:
    """A sparse shift with random offsets, some of them whole, some halfway."""
    module = SparseShift(channels).double()
    generator = torch.Generator().manual_seed(seed)
    for offsets in (module.row_offsets, module.col_offsets):
        offsets.data.uniform_(-spread, spread, generator=generator)
        offsets.data[::3] = (offsets.data[::3] * 2).round() / 2
    return module


def rounded(module: SparseShift) -> list[tuple[int, int]]:
    pairs = zip(module.row_offsets.tolist(), module.col_offsets.tolist(), strict=True)
    return [(round_away(a), round_away(b)) for a, b in pairs]


def exports(module: nn.Module, x: Tensor) -> Iterator[onnx.ModelProto]:
    """`module` exported by tracing and by torch.export."""
    for dynamo in (False, True):
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (x,), file, dynamo=dynamo, opset_version=18, verbose=False)  # type: ignore[arg-type]
        yield onnx.load_from_string(file.getvalue())


def run_onnx(model: onnx.ModelProto, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels, kernel, dilation", [(20, 3, 1), (9, 3, 2), (60, 5, 1), (8, 3, 1), (1, 7, 1)])
def test_grouped_shift_is_the_loop(size: tuple[int, int], channels: int, kernel: int, dilation: int) -> None:
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    each, half = channels // kernel**2, kernel // 2
    offsets = [(r * dilation, c * dilation) for r in range(-half, half + 1) for c in range(-half, half + 1)]
    counts = [each + (channels % kernel**2 if offset == (0, 0) else 0) for offset in offsets]
    expected = naive(x, [offset for offset, n in zip(offsets, counts, strict=True) for _ in range(n)])
    module = GroupedShift(channels, kernel, dilation)
    assert torch.equal(module.train()(x), expected)
    assert torch.equal(module.eval()(x), expected)
    assert torch.equal(grouped_shift(x, kernel, dilation), expected)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, x, weights)[0]
    for mode in (True, False):
        assert torch.equal(torch.autograd.grad(module.train(mode)(x), x, weights)[0], wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0.0, 2.5])
def test_sparse_shift_is_the_loop(size: tuple[int, int], spread: float) -> None:
    module = scattered(12, spread=spread)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 12, *size, dtype=torch.float64).to(memory_format=memory_format)
        expected = naive(x, rounded(module))
        assert torch.equal(module.train()(x), expected)
        assert torch.equal(module.eval()(x), expected)


def test_gradients_of_inputs() -> None:
    x = torch.randn(2, 12, 4, 3, dtype=torch.float64, requires_grad=True)
    for module in (scattered(12).train(), scattered(12).eval(), GroupedShift(12, 3).train()):
        module.requires_grad_(False)
        assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("size", SIZES)
def test_gradients_of_offsets_are_those_of_interpolation_at_the_real_offsets(size: tuple[int, int]) -> None:
    module = scattered(12).train()
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    weights = torch.randn_like(x)
    (module(x) * weights).sum().backward()
    assert module.row_offsets.grad is not None and module.col_offsets.grad is not None
    for c in range(12):
        rows, cols = naive_offset_gradients(x[:, c], weights[:, c], module.row_offsets[c].item(), module.col_offsets[c].item())
        assert module.row_offsets.grad[c].item() == pytest.approx(rows, abs=1e-12)
        assert module.col_offsets.grad[c].item() == pytest.approx(cols, abs=1e-12)


def naive_offset_gradients(x: Tensor, grad: Tensor, a: float, b: float) -> tuple[float, float]:
    """The derivative of sum(grad * bilinear(x at offset a, b)) by a and by b, one channel [N, H, W], pixel by pixel."""
    rows = cols = 0.0
    da, db = a - floor(a), b - floor(b)
    for h in range(x.shape[1]):
        for w in range(x.shape[2]):
            q = [[pixel(x, h + floor(a) + i, w + floor(b) + j) for j in (0, 1)] for i in (0, 1)]
            g = grad[:, h, w]
            rows += (g * ((1 - db) * (q[1][0] - q[0][0]) + db * (q[1][1] - q[0][1]))).sum().item()
            cols += (g * ((1 - da) * (q[0][1] - q[0][0]) + da * (q[1][1] - q[1][0]))).sum().item()
    return rows, cols


def test_offsets_start_as_a_grid_and_their_penalty_is_the_l1_norm() -> None:
    module = SparseShift(20)
    pairs = rounded(module)
    assert {pair: pairs.count(pair) for pair in pairs} == {
        (r, c): 4 if r == c == 0 else 2 for r in (-1, 0, 1) for c in (-1, 0, 1)
    }
    assert module.penalty().item() == 24
    assert {name for name, _ in module.named_parameters()} == {"row_offsets", "col_offsets"}


@pytest.mark.parametrize("module", [GroupedShift(20, 3), scattered(20).float(), SparseShift(20)])
@pytest.mark.parametrize("size", SIZES)
def test_onnx_only_moves_data(module: nn.Module, size: tuple[int, int]) -> None:
    x = torch.randn(1, 20, *size)
    moves = {"Split", "Pad", "Slice", "Concat", "Gather"}
    constants = {"Constant", "ConstantOfShape", "Cast", "Reshape", "Transpose"}  # the tracer spells out pads with these
    for model in exports(module.eval(), x):
        assert {node.op_type for node in model.graph.node} <= moves | constants
        assert np.array_equal(run_onnx(model, x), module(x).detach().numpy())


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("block", [Csc(8, 8, 1, expand=2), Csc(8, 16, 2), Fe(8, 12, 1, units=2), Fe(8, 12, 2, units=2)])
def test_blocks_in_onnx_have_pointwise_convolutions_only(block: nn.Module, fold: bool) -> None:
    block = scatter(block)
    x = torch.randn(1, 8, 7, 7)
    expected = block(x).detach().numpy()
    if fold:
        fold_permutations(block)
    for model in exports(block, x):
        nodes = model.graph.node
        kernels = [list(a.ints) for n in nodes if n.op_type == "Conv" for a in n.attribute if a.name == "kernel_shape"]
        assert kernels and all(kernel == [1, 1] for kernel in kernels)
        assert not fold or "Gather" not in {node.op_type for node in nodes}
        np.testing.assert_allclose(run_onnx(model, x), expected, rtol=1e-4, atol=1e-5)


def scatter(block: nn.Module) -> nn.Module:
    """A trained-looking copy: random offsets and batch norm statistics."""
    block = copy.deepcopy(block)
    for module in block.modules():
        if isinstance(module, SparseShift):
            module.row_offsets.data.uniform_(-2, 2)
            module.col_offsets.data.uniform_(-2, 2)
    for _ in range(3):
        block.train()(torch.randn(4, 8, 7, 7))
    return block.eval()


@pytest.mark.parametrize("stride", [1, 2])
def test_training_scattered_channels_is_training_sorted_ones(stride: int) -> None:
    block = scatter(Fe(8, 8, stride)).double().train()
    same = copy.deepcopy(block)
    fold_permutations(same)
    x, weights = torch.randn(2, 8, 7, 7).double(), torch.randn(2, 8, 1, 1).double()
    for module in (block, same):
        (module(x) * weights).sum().backward()
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.data -= 0.01 * parameter.grad
    torch.testing.assert_close(block(x), same(x))
    torch.testing.assert_close(block.eval()(x), same.eval()(x))


@pytest.mark.parametrize("act", ["relu", "prelu"])
def test_folding_permutations_changes_the_order_of_channels_only(act: str) -> None:
    block = scatter(Fe(8, 8, 1, act=act)).double()  # type: ignore[arg-type]
    x = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    expected = block(x)
    assert any(m.plan().order for m in block.modules() if isinstance(m, SparseShift))
    fold_permutations(block)
    assert not any(m.plan().order for m in block.modules() if isinstance(m, SparseShift))
    torch.testing.assert_close(block(x), expected)


def test_loaded_offsets_are_exported_without_a_forward_pass() -> None:
    trained, fresh = scattered(20).float().eval(), SparseShift(20).eval()
    fresh.load_state_dict(trained.state_dict())
    x = torch.randn(1, 20, 6, 6)
    for model in exports(fresh, x):
        assert np.array_equal(run_onnx(model, x), trained(x).detach().numpy())


def test_runs_without_values() -> None:
    with torch.device("meta"):
        module, x = SparseShift(20), torch.empty(1, 20, 6, 6)
    assert module.train()(x).shape == module.eval()(x).shape == x.shape
