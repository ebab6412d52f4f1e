"""Training checkpoints: the last finished epoch in its own folder, written atomically."""

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
    """Saves the state after the last epoch to `folder`, replacing older checkpoints; raises OSError."""
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
    """Restores the newest checkpoint in `folder`, if any; raises InputError when it is damaged."""
    for newest in _checkpoints(folder)[-1:]:
        try:
            training.restore(load_file(newest / WEIGHTS), torch.load(newest / _STATE, weights_only=True))
        except Exception as error:  # noqa: BLE001 readers may raise anything on a damaged file
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise InputError(f"{newest} is damaged: {reason}; delete it, and training starts over") from None


def remove_checkpoints(folder: Path) -> None:
    for path in _checkpoints(folder):
        shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("checkpoint-*"))
