"""Prints times of shifts, their formulations and blocks built on them, one thread: `python benchmarks/shift.py`, 2 minutes.

The first part is the Markdown table in benchmarks/shift.md.
"""

import io
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import TypeVar

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, grid_sample, pad

from evaluators.training.kernels.fast import fast
from evaluators.training.kernels.shifts import move
from search_spaces.blocks.csc import Csc
from search_spaces.blocks.fe import Fe
from search_spaces.blocks.inverted_residual import InvertedResidual
from search_spaces.ops.active_shift import ActiveShift
from search_spaces.ops.learnt_shift import LearntShift, make_plan
from search_spaces.ops.shift import GroupedShift, Run, grid, shift
from search_spaces.ops.sparse_shift import SparseShift

CHANNELS = 64
ROUNDS = 15
TORCH_SHAPE = (32, CHANNELS, 16, 16)
ONNX_SHAPES = ((1, CHANNELS, 28, 28), (1, CHANNELS, 7, 7))
Call = Callable[[], object]
Module = TypeVar("Module", bound=nn.Module)


class Form(nn.Module):
    """A formulation of the shift of channels by offsets in pixels: `form(x, rows, cols)`."""

    def __init__(self, form: Callable[[Tensor, Tensor, Tensor], Tensor], rows: Tensor, cols: Tensor, learns: bool) -> None:
        super().__init__()
        self.form = form
        self.rows, self.cols = (nn.Parameter(offsets.detach().clone(), requires_grad=learns) for offsets in (rows, cols))

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x, self.rows, self.cols)


def runs_of(rows: Tensor, cols: Tensor) -> tuple[tuple[int, ...], tuple[Run, ...]]:
    """The order that sorts channels by the whole parts of their offsets, and the runs that have the same."""
    plan = make_plan(rows.detach().floor(), cols.detach().floor())
    return plan.order, plan.moves


def pad_once(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """One pad by the largest offset, then a slice a run."""
    _, runs = runs_of(rows, cols)
    m = max(max(abs(run.rows), abs(run.cols)) for run in runs)
    around = torch.split(pad(x, (m, m, m, m)), [run.channels for run in runs], 1)
    pairs = zip(around, runs, strict=True)
    return torch.cat([p[:, :, m + r : (r - m) or None, m + c : (c - m) or None] for p, (r, c, _) in pairs], 1)


def pads(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """A cropping pad a run, channels sorted before and after."""
    order, runs = runs_of(rows, cols)
    if not order:
        return shift(x, runs)
    return shift(x.index_select(1, torch.tensor(order)), runs).index_select(1, torch.tensor(np.argsort(order)))


def unsorted(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """A cropping pad for each channel that does not shift like the one before."""
    pairs = zip(rows.detach().floor().int().tolist(), cols.detach().floor().int().tolist(), strict=True)
    return shift(x, [Run(r, c, 1) for r, c in pairs])


def one_hot(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """A depthwise convolution whose kernels hold a single one."""
    pairs = list(zip(rows.int().tolist(), cols.int().tolist(), strict=True))
    m = max(max(abs(r), abs(c)) for r, c in pairs)
    places = torch.tensor([(r + m) * (2 * m + 1) + c + m for r, c in pairs])
    weight = torch.eye((2 * m + 1) ** 2)[places].view(-1, 1, 2 * m + 1, 2 * m + 1)
    return conv2d(x, weight, None, 1, m, groups=len(rows))


def picked(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """One gather of all pixels by their index in the map, zeros from a pixel behind the last."""
    c, h, w = x.shape[1:]
    r = torch.arange(h).view(1, h, 1) + rows.detach().floor().long().view(-1, 1, 1)
    q = torch.arange(w).view(1, 1, w) + cols.detach().floor().long().view(-1, 1, 1)
    index = torch.where((r >= 0) & (r < h) & (q >= 0) & (q < w), torch.arange(c).view(-1, 1, 1) * h * w + r * w + q, c * h * w)
    return pad(x.reshape(x.shape[0], -1), (0, 1))[:, index.flatten()].view_as(x)


def four(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Four gathers, weighted."""
    a, b = ((offsets - offsets.floor()).view(-1, 1, 1) for offsets in (rows, cols))
    upper = (1 - b) * picked(x, rows, cols) + b * picked(x, rows, cols + 1)
    return (1 - a) * upper + a * ((1 - b) * picked(x, rows + 1, cols) + b * picked(x, rows + 1, cols + 1))


def sampled(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """grid_sample, the images as channels of one image a channel."""
    c, h, w = x.shape[1:]
    y = ((2 * (torch.arange(h) + rows.view(-1, 1)) + 1) / h - 1).unsqueeze(2).expand(c, h, w)
    z = ((2 * (torch.arange(w) + cols.view(-1, 1)) + 1) / w - 1).unsqueeze(1).expand(c, h, w)
    return grid_sample(x.transpose(0, 1), torch.stack([z, y], -1), align_corners=False).transpose(0, 1)


def around(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Channels moved by the whole parts of their offsets, with a row and a column more."""
    order, runs = runs_of(rows, cols)
    size = (int(x.shape[2]) + 1, int(x.shape[3]) + 1)
    x = x.index_select(1, torch.tensor(order)) if order else x
    x = shift(x, runs, size) if torch.onnx.is_in_onnx_export() else move(x, runs, size)
    return x.index_select(1, torch.tensor(np.argsort(order))) if order else x


def lerps(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Moved by cells, then interpolated by rows and by columns."""
    a, b = ((offsets - offsets.floor()).view(-1, 1, 1) for offsets in (rows, cols))
    x = around(x, rows, cols)
    x = (1 - a) * x[:, :, :-1] + a * x[:, :, 1:]
    return (1 - b) * x[:, :, :, :-1] + b * x[:, :, :, 1:]


def products(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Moved by cells, then four products added."""
    a, b = ((offsets - offsets.floor()).view(-1, 1, 1) for offsets in (rows, cols))
    x = around(x, rows, cols)
    y = (1 - a) * (1 - b) * x[:, :, :-1, :-1] + (1 - a) * b * x[:, :, :-1, 1:]
    return y + a * (1 - b) * x[:, :, 1:, :-1] + a * b * x[:, :, 1:, 1:]


def convolved(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Moved by cells, then a 2x2 depthwise convolution."""
    a, b = (offsets - offsets.floor() for offsets in (rows, cols))
    weight = torch.stack([1 - a, a], 1).unsqueeze(2) * torch.stack([1 - b, b], 1).unsqueeze(1)
    return conv2d(around(x, rows, cols), weight.unsqueeze(1), groups=len(rows))


def formulations() -> dict[str, dict[str, nn.Module]]:
    """By operation, what is kept first and what it was measured against."""
    runs = grid(CHANNELS, 3)
    rows, cols = (torch.tensor(np.repeat([run[i] for run in runs], [run.channels for run in runs])).float() for i in (0, 1))
    tables: dict[str, dict[str, nn.Module]] = {"grouped shift 3x3": {"kept": GroupedShift(CHANNELS, 3)}}
    forms = {"cropping pads": pads, "one pad, slices": pad_once, "gather": picked, "depthwise 3x3": one_hot}
    tables["grouped shift 3x3"] |= {name: Form(form, rows, cols, False) for name, form in forms.items()}
    tables["grouped shift 3x3"]["modulo, by reshaping (kept)"] = GroupedShift(CHANNELS, 3, order="modulo")
    sparse = scatter(SparseShift(CHANNELS)).requires_grad_(False)
    near = [torch.round(offsets.detach()) for offsets in (sparse.row_offsets, sparse.col_offsets)]
    forms = {"pad a channel": unsorted, "gather": picked, "grid_sample": sampled, "depthwise": one_hot}
    tables["sparse shift, +-1.5, frozen"] = {"kept": sparse} | {n: Form(f, *near, False) for n, f in forms.items()}
    forms = {"cells, 2x2 depthwise": convolved, "cells, two lerps": lerps, "cells, four products": products}
    forms |= {"grid_sample": sampled, "four gathers": four}
    for name, active in (
        ("active shift, initial", ActiveShift(CHANNELS)),
        ("active shift, +-3", scatter(ActiveShift(CHANNELS), 3)),
    ):
        offsets = active.row_offsets, active.col_offsets
        tables[name] = {"kept": active} | {n: Form(f, *offsets, True) for n, f in forms.items()}
    for forms_ in tables.values():
        forms_["no shift"] = nn.Identity()
    return tables


def with_pointwise(form: nn.Module) -> nn.Sequential:
    """A shift between two pointwise convolutions."""
    return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), form, nn.Conv2d(CHANNELS, CHANNELS, 1))


def ratios(calls: Mapping[str, Call]) -> dict[str, str]:
    """Median ratio to the first call's processor time and the quartiles, from interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                times[name].append(time.process_time() - start)
    first = next(iter(times.values()))
    found = {}
    for name, row in times.items():
        each = [a / b for a, b in zip(row, first, strict=True)]
        low, _, high = quantiles(each, n=4)
        found[name] = f"{median(row) / median(first):.2f} ({low:.2f}-{high:.2f})"
    return found


def inferring(module: nn.Module) -> Call:
    network = with_pointwise(module).eval().to(memory_format=torch.channels_last)
    x = torch.randn(TORCH_SHAPE).contiguous(memory_format=torch.channels_last)

    def call() -> None:
        network.eval()
        with torch.no_grad():
            network(x)

    return call


def training(module: nn.Module) -> Call:
    network = fast(with_pointwise(module)).to(memory_format=torch.channels_last)
    x = torch.randn(TORCH_SHAPE).contiguous(memory_format=torch.channels_last)

    def call() -> None:
        network.train()
        network.zero_grad()
        network(x).square().mean().backward()

    return call


def in_onnx(module: nn.Module, shape: tuple[int, ...]) -> Call:
    x = torch.randn(shape)
    session = session_of(with_pointwise(module), x)
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: [session.run(None, feed) for _ in range(5)]


def print_formulations() -> None:
    """The table of benchmarks/shift.md."""
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {platform.machine()}, one thread, {ROUNDS} rounds"
    )
    onnx_sizes = [f"ONNX Runtime {shape[2]}x{shape[3]}" for shape in ONNX_SHAPES]
    for operation, forms in formulations().items():
        columns = {"torch, inference": ratios({name: inferring(m) for name, m in forms.items()})}
        columns["torch, training step"] = ratios({name: training(m) for name, m in forms.items()})
        for title, shape in zip(onnx_sizes, ONNX_SHAPES, strict=True):
            columns[title] = ratios({name: in_onnx(m, shape) for name, m in forms.items()})
        print(f"\n| {operation} | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        for name in forms:
            print(f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |", flush=True)


def session_of(module: nn.Module, x: Tensor) -> onnxruntime.InferenceSession:
    """`module` in ONNX Runtime, CPU, one thread."""
    file = io.BytesIO()
    torch.onnx.export(module.eval(), (x,), file, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])


def time_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """The least processor time of a call in milliseconds, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def train_ms(module: nn.Module, shape: tuple[int, ...]) -> float:
    """Time of one forward and backward pass in training mode, channels last."""
    fast(module).train().to(memory_format=torch.channels_last)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn_like(module(x))
    return time_ms(lambda: module(x).backward(grad), 7)


def macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    """MACs of the convolutions of a block for one image."""
    counts: list[int] = []
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            m.register_forward_hook(lambda m, _, y: counts.append(y.numel() * m.weight[0].numel()))
    module.to("meta")(torch.empty(1, *shape[1:], device="meta"))
    return sum(counts)


def scatter(module: Module, spread: float = 1.5) -> Module:
    """`module` with random offsets, as if after long training: hardly any neighbours shift alike."""
    for m in module.modules():
        if isinstance(m, LearntShift):
            nn.init.uniform_(m.row_offsets, -spread, spread)
            nn.init.uniform_(m.col_offsets, -spread, spread)
    return module


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print_formulations()

    shape = (64, 384, 16, 16)
    depthwise = train_ms(nn.Conv2d(384, 384, 3, padding=1, groups=384, bias=False), shape)
    print(f"forward + backward of {shape}, channels last: depthwise 3x3 {depthwise:.0f} ms; times that:")
    ops: dict[str, nn.Module] = {
        "grouped": GroupedShift(384, 3),
        "sparse": SparseShift(384),
        "scattered": scatter(SparseShift(384)),
    }
    ops |= {"active": ActiveShift(384), "active, scattered": scatter(ActiveShift(384))}
    print("  " + "  ".join(f"{name} {train_ms(op, shape) / depthwise:.2f}" for name, op in ops.items()))

    shape = (64, 64, 16, 16)
    blocks: dict[str, Callable[[], nn.Module]] = {
        "inverted_residual": lambda: InvertedResidual(64, 64, 1),
        "csc expand=6": lambda: Csc(64, 64, 1, expand=6.0),
        "csc expand=6 kernel=5": lambda: Csc(64, 64, 1, expand=6.0, kernel=5),
        "fe units=1": lambda: Fe(64, 64, 1, units=1),
        "fe units=1, scattered": lambda: scatter(Fe(64, 64, 1, units=1)),
        "fe": lambda: Fe(64, 64, 1),
        "fe, scattered": lambda: scatter(Fe(64, 64, 1)),
    }
    print(f"forward + backward of blocks on {shape}, channels last: ms for one million MACs an image, and as a ratio")
    per_mac = {name: train_ms(make(), shape) / macs(make(), shape) * 1e6 for name, make in blocks.items()}
    for name, cost in per_mac.items():
        print(f"  {name:22} {cost:.2f}  {cost / per_mac['inverted_residual']:.2f}")


if __name__ == "__main__":
    main()
