"""gated: a sequence of residual blocks, each but the first skipped or run per image by its gate (SkipNet)."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from search_spaces.blocks.branches import Add
from search_spaces.blocks.pool import MaxPool
from search_spaces.errors import InputError
from search_spaces.network import Row
from search_spaces.ops.conv import conv_bn_act
from search_spaces.registry import block

_HIDDEN = 10  # recurrent gate: LSTM units and input channels
State = tuple[Tensor, Tensor] | None


@block("gated")
class Gated(nn.Module):
    """Residual blocks; gates decide per image whether to skip or run each block but the first.

    The single branch has `add` blocks with two branches, body and shortcut. Each but the first computes s + g (act(body(x) + s)
    - s), where s is the shortcut's output and g = 1 if the gate's probability for x is at least 1/2, else 0; in training, g has
    the gradient of the probability (straight-through). `gate`: `ff1` (max pool, two 3x3 convolutions, the second at stride 2),
    `ff2` (one at stride 2), `rnn` (global pool, projection, an LSTM shared by all gates and reset for each image).
    `authors_unused` adds a gate after the last block, which the authors' code has but never uses.
    arXiv:1711.09485, ucbdrive/skipnet cifar/models.py.
    """

    def __init__(
        self, branches: list[Row], *, gate: Literal["ff1", "ff2", "rnn"] = "rnn", authors_unused: bool = False
    ) -> None:
        super().__init__()
        row = _residual_row(branches)
        widths = row.widths if authors_unused else row.widths[:-1]
        self.row, self.reads_image = row, row.reads_image
        self.gates = _RecurrentGates(widths) if gate == "rnn" else _FeedForwardGates(widths, pooled=gate == "ff1")
        self.decisions: Tensor | None = None
        self.explores = False
        self.policy: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """In eval mode, stores `decisions` for statistics: [N, gates], 1 if the block ran."""
        y, decisions = self.run(x, image)
        if not self.training and _at_hand(x):
            self.decisions = decisions
        return y

    def run(self, x: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output and the decisions [N, gates].

        With `explores`, in training, decisions are drawn with the gates' probabilities, without gradient; then `policy` is the
        logarithms of the probabilities of the decisions, and the decisions, both [N, gates].
        """
        first, *later = cast("list[Add]", list(self.row.blocks))
        x = first(x, image)
        state: State = None
        decisions, logs = [x.new_zeros(x.shape[0], 0)], [x.new_zeros(x.shape[0], 0)]
        for index, residual in enumerate(later):
            p, state = self.gates(index, x, state)
            g, hard = self._decided(p)
            x = self._gated(residual, x, g, image)
            decisions.append(hard)
            if self.explores:
                logs.append(torch.where(hard > 0, p, 1 - p).clamp(min=1e-6).log())
        if self.training and self.explores:
            self.policy = torch.cat(logs, 1), torch.cat(decisions, 1)
        return x, torch.cat(decisions, 1)

    def _decided(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """What to compute with, and the decision, both [N, 1]."""
        if self.training and self.explores:
            drawn = torch.bernoulli(p.detach())
            return drawn, drawn
        hard = (p >= 0.5).to(p.dtype)
        return (hard + (p - p.detach()) if self.training else hard), hard

    def _gated(self, residual: Add, x: Tensor, g: Tensor, image: Tensor | None) -> Tensor:
        """The output of a block for decisions g [N, 1]; in eval mode, a block that no image needs is not computed."""
        body, shortcut = residual.branches
        s: Tensor = shortcut(x, image)
        if not self.training and _at_hand(x) and not g.any():
            return s
        y = residual.act(body(x, image) + s)
        return s + g[:, :, None, None] * (y - s)


def _residual_row(branches: Sequence[Row]) -> Row:
    """The single branch; raises InputError unless it consists of additions of a body and a shortcut."""
    if len(branches) != 1:
        raise InputError(f"exactly one branch is needed, with all gated blocks in sequence, not {len(branches)}")
    blocks = branches[0].blocks
    if len(blocks) < 2:
        raise InputError("its branch needs at least two blocks; the first one always runs")
    for number, inner in enumerate(blocks, 1):
        if not isinstance(inner, Add) or len(inner.branches) != 2:
            raise InputError(f"block {number} of its branch is not an add of two branches, the body and the shortcut")
    return branches[0]


def _at_hand(x: Tensor) -> bool:
    """Whether control flow may depend on values: not on the meta device, nor when traced or compiled."""
    return not (x.is_meta or torch.jit.is_tracing() or torch.compiler.is_compiling())  # type: ignore[attr-defined]


class _FeedForwardGates(nn.Module):
    """An independent small convolutional network per gate."""

    def __init__(self, widths: Sequence[int], pooled: bool) -> None:
        super().__init__()
        self.gates = nn.ModuleList(_feed_forward_gate(width, pooled) for width in widths)

    def forward(self, index: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Probability [N, 1] that block `index` runs on x [N, C, H, W]."""
        return self.gates[index](x).flatten(1).softmax(1)[:, 1:], state


def _feed_forward_gate(width: int, pooled: bool) -> nn.Sequential:
    """FFGate-I (`pooled`) or FFGate-II: [N, width, H, W] to logits [N, 2, 1, 1] for skipping and running."""
    before = [MaxPool(2, kernel=2), conv_bn_act(width, width, 3, act="relu")] if pooled else []
    halving = conv_bn_act(width, width, 3, 2, act="relu")
    return nn.Sequential(*before, halving, nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 2, 1))


class _RecurrentGates(nn.Module):
    """RNNGate: a projection of the pooled features per gate, with a shared LSTM and output unit."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(width, _HIDDEN, 1) for width in widths)
        self.lstm = Lstm(_HIDDEN)
        self.score = nn.Linear(_HIDDEN, 1)

    def forward(self, index: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Probability [N, 1] that block `index` runs on x [N, C, H, W], and the LSTM's state after it."""
        projected = self.projections[index](adaptive_avg_pool2d(x, 1)).flatten(1)
        hidden, cell = self.lstm(projected, state)
        return self.score(hidden).sigmoid(), (hidden, cell)


class Lstm(nn.Module):
    """One LSTM step from linear layers, like torch's (two biases; gate order i, f, g, o)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 4 * width)
        self.recall = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """The next (hidden, cell) from x [N, width] and (hidden, cell), each [N, width], initially zero."""
        hidden, cell = state or (x.new_zeros(x.shape), x.new_zeros(x.shape))
        i, f, g, o = (self.read(x) + self.recall(hidden)).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell
