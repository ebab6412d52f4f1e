"""TFLite export; the only module that calls LiteRT's converter."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from evaluators.onnx import deployable, quiet
from search_spaces.errors import InputError
from search_spaces.network import example_input
from search_spaces.task import Task

SIGNATURE_KEY = "serving_default"  # of the converter's files


def export_tflite(network: nn.Module, task: Task, path: Path) -> None:
    """Exports `network` in eval mode to a TFLite file: input "args_0" float32 [1, C, H, W], output "output_0" [1, classes].

    `network` is not modified. Raises InputError when the converter fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # silences the C++ code, which logs the FLOPs of each network
    with quiet():
        import litert_torch

        try:
            litert_torch.convert(deployable(network), (example_input(task),)).export(str(path))
        except Exception as error:  # the converter may raise anything
            raise InputError(f"litert-torch cannot convert the network: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Suppresses what is written to the standard error: progress bars, and lines of C++ code that have no switch."""
    sys.stderr.flush()
    with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        own = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)
