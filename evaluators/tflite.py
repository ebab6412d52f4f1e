"""TFLite export; the only module that calls LiteRT's converter."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from evaluators.onnx import deployable, quiet
from search_spaces.errors import InputError, shortened
from search_spaces.network import example_input
from search_spaces.task import Task

SIGNATURE_KEY = "serving_default"  # of the converter's files
_SILENCE = threading.Lock()


def export_tflite(network: nn.Module, task: Task, path: Path) -> None:
    """Exports `network` in eval mode to a TFLite file: input "args_0" float32 [1, C, H, W], output "output_0" [1, classes].

    `network` is not modified. Raises InputError when the converter fails, and OSError.
    """
    with quiet():
        import litert_torch

        try:
            litert_torch.convert(deployable(network), (example_input(task),)).export(str(path))
        except OSError:
            raise
        except Exception as error:  # the converter may raise anything
            reason = shortened(f"{type(error).__name__}: {error}".partition("\n")[0])
            raise InputError(f"litert-torch cannot convert the network: {reason}") from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Suppresses what is written to the standard error: progress bars, and lines of C++ code that have no switch.

    One thread at a time; what other threads write meanwhile is lost.
    """
    sys.stderr.flush()
    with _SILENCE, open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        own = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)
