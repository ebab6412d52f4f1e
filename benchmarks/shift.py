"""Prints times of shifts and of blocks built on them, one thread: `python benchmarks/shift.py`, about a minute."""

import io
import time
import warnings
from collections.abc import Callable, Sequence

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from search_spaces.blocks.csc import Csc
from search_spaces.blocks.fe import Fe
from search_spaces.blocks.inverted_residual import InvertedResidual
from search_spaces.ops.shift import GroupedShift, Run, SparseShift, grid, shift

Form = Callable[[Tensor, Sequence[Run]], Tensor]


def time_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """The least processor time of a call in milliseconds, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def parts(x: Tensor, runs: Sequence[Run]) -> tuple[Tensor, ...]:
    return torch.split(x, [run.channels for run in runs], 1)


def pad_once(x: Tensor, runs: Sequence[Run]) -> Tensor:
    """One pad by the largest offset, then a slice a run."""
    m = max(max(abs(run.rows), abs(run.cols)) for run in runs)
    around = parts(pad(x, (m, m, m, m)), runs)
    pairs = zip(around, runs, strict=True)
    return torch.cat([p[:, :, m + r : (r - m) or None, m + c : (c - m) or None] for p, (r, c, _) in pairs], 1)


def pad_and_slice(x: Tensor, runs: Sequence[Run]) -> Tensor:
    """A pad and a slice a run."""
    return torch.cat([_padded_slice(p, run.rows, run.cols) for p, run in zip(parts(x, runs), runs, strict=True)], 1)


def _padded_slice(x: Tensor, rows: int, cols: int) -> Tensor:
    padded = pad(x, (max(-cols, 0), max(cols, 0), max(-rows, 0), max(rows, 0)))
    return padded[:, :, max(rows, 0) : min(rows, 0) or None, max(cols, 0) : min(cols, 0) or None]


class Formed(nn.Module):
    """A form of the grouped shift as a module."""

    def __init__(self, form: Form, channels: int, kernel: int) -> None:
        super().__init__()
        self.form, self.runs = form, grid(channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x, self.runs)


def onnx_ms(module: nn.Module, x: Tensor) -> float:
    """Time of `module` on `x` in ONNX Runtime, CPU, one thread."""
    file = io.BytesIO()
    torch.onnx.export(module.eval(), (x,), file, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return time_ms(lambda: session.run(None, feed), 50)


def train_ms(module: nn.Module, shape: tuple[int, ...]) -> float:
    """Time of one forward and backward pass in training mode, channels last."""
    module.train().to(memory_format=torch.channels_last)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn_like(module(x))
    return time_ms(lambda: module(x).backward(grad), 7)


def macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    """MACs of the convolutions of a block for one picture."""
    counts: list[int] = []
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            m.register_forward_hook(lambda m, _, y: counts.append(y.numel() * m.weight[0].numel()))
    module.to("meta")(torch.empty(1, *shape[1:], device="meta"))
    return sum(counts)


def scatter(module: nn.Module) -> nn.Module:
    """`module` with random offsets, as if after long training: hardly any neighbours shift alike."""
    for m in module.modules():
        if isinstance(m, SparseShift):
            nn.init.uniform_(m.row_offsets, -1.5, 1.5)
            nn.init.uniform_(m.col_offsets, -1.5, 1.5)
    return module


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("grouped shift in ONNX Runtime, batch 1: ms by form")
    for channels, size, kernel in ((256, 56, 5), (128, 28, 3), (512, 14, 3)):
        x = torch.randn(1, channels, size, size)
        forms: dict[str, Form] = {"cropping pads (used)": shift, "pads and slices": pad_and_slice, "one pad": pad_once}
        times = {name: onnx_ms(Formed(form, channels, kernel), x) for name, form in forms.items()}
        print(f"  {channels}x{size}x{size} k{kernel}  " + "  ".join(f"{n} {t:.3f}" for n, t in times.items()))

    shape = (64, 384, 16, 16)
    depthwise = train_ms(nn.Conv2d(384, 384, 3, padding=1, groups=384, bias=False), shape)
    print(f"forward + backward of {shape}, channels last: depthwise 3x3 {depthwise:.0f} ms; times that:")
    ops = {"grouped": GroupedShift(384, 3), "sparse": SparseShift(384), "scattered": scatter(SparseShift(384))}
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
    print(f"forward + backward of blocks on {shape}, channels last: ms for one million MACs a picture, and as a ratio")
    per_mac = {name: train_ms(make(), shape) / macs(make(), shape) * 1e6 for name, make in blocks.items()}
    for name, cost in per_mac.items():
        print(f"  {name:22} {cost:.2f}  {cost / per_mac['inverted_residual']:.2f}")


if __name__ == "__main__":
    main()
