"""Checkpoints of a training: the newest finished epoch in a folder of its own, whole or not there."""

import io
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from evaluators.training.loop import Training
from evaluators.weights import WEIGHTS
from search_spaces.durable import sync, sync_tree
from search_spaces.errors import InputError

_STATE = "state.pt"


def save_checkpoint(training: Training, folder: Path) -> None:
    """Keeps the state of a training after its last epoch in `folder`, in place of an earlier one; raises OSError."""
    part = folder / ".checkpoint.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    weights, rest = training.state()
    (part / WEIGHTS).write_bytes(save({name: tensor.contiguous() for name, tensor in weights.items()}))
    state = io.BytesIO()
    torch.save(rest, state)
    (part / _STATE).write_bytes(state.getbuffer())
    sync_tree(part)
    part.rename(folder / f"checkpoint-{len(training.history):05d}")
    sync(folder)
    for old in _checkpoints(folder)[:-1]:
        shutil.rmtree(old)


def load_checkpoint(training: Training, folder: Path) -> None:
    """Goes back to the newest checkpoint in `folder`, if there is one; raises InputError when it cannot be read."""
    for newest in _checkpoints(folder)[-1:]:
        try:
            training.restore(load_file(newest / WEIGHTS), torch.load(newest / _STATE, weights_only=True))
        except Exception as error:  # noqa: BLE001 on a damaged file the readers raise whatever they stumble over
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise InputError(f"{newest} is damaged: {reason}; without it, the training begins anew") from None


def remove_checkpoints(folder: Path) -> None:
    for path in _checkpoints(folder):
        shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder.glob("checkpoint-*"))
