"""Export formats for other programs. One file each, `NAME.py`, a module with the attributes of `Format`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from evaluators.card import CARD, Signature, file_entry
from evaluators.weights import GENOTYPE, WEIGHTS
from search_spaces.errors import InputError
from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.task import Task

TOLERANCE = 1e-3  # largest difference from torch's logits, relative to the largest logit
_DEFAULT = ("onnx", "torch_source")
OURS = (GENOTYPE, WEIGHTS, CARD)  # in every export; the network can be loaded from these
FORMATS = Modules("formats", __name__, "export format")


class Format(Protocol):
    """A module of this folder.

    FILE: the file name, unique to the format. Optional: MORE, names of files that `write` writes beside it. SIGNATURE, where
    it is not image [1, C, H, W] and logits [1, classes]. RUNTIME, the latency runtime that reads the file; its logits are
    compared with torch's once it is written. USE, for README.md: Python that runs the file in the current folder, from
    `image`, a numpy array [1, C, H, W], to `logits`.
    """

    FILE: str

    def write(self, network: "Network", task: "Task", path: Path) -> None:
        """Write a network in eval mode with its weights to a file, and what belongs to it beside it.

        Must not change `network`. Raises InputError if a package is missing, and OSError.
        """


def summaries() -> dict[str, str]:
    """One-line description of each format, by name, without importing them."""
    return FORMATS.summaries()


def load(names: Sequence[str]) -> dict[str, Format]:
    """Load formats by name, by default ONNX and torch source; returned by file name.

    Raises InputError for an unknown name, with a suggestion, if two formats write the same file, and if a package is missing.
    """
    found: dict[str, Format] = {}
    taken = set(OURS)
    for name in dict.fromkeys(names or _DEFAULT):
        chosen = cast(Format, FORMATS.load(name))
        for file in (chosen.FILE, *_more(chosen)):
            if file in taken:
                raise InputError(f"the export format {name} writes {file}, as another one does; leave one of them out")
            taken.add(file)
        _check_packages(name, chosen)
        found[chosen.FILE] = chosen
    return found


def entry(way: Format, task: "Task") -> dict[str, Any]:
    """The entry of a format's file in model.json."""
    more = _more(way)
    return file_entry(task, 1, getattr(way, "SIGNATURE", Signature())) | ({"more": list(more)} if more else {})


def use(way: Format) -> str:
    """Python that runs the format's file; empty if the format gives none."""
    return str(getattr(way, "USE", ""))


def write(way: Format, network: "Network", task: "Task", path: Path, **how: Any) -> None:
    """Write a format's file, and run it if the format names a runtime.

    `how` goes to the format's `write`. Raises InputError if the file cannot be written or run, or if its logits differ from
    torch's by more than TOLERANCE.
    """
    runtime = getattr(way, "RUNTIME", None)
    if runtime is None:
        way.write(network, task, path, **how)
        return
    import torch

    from evaluators.agreement import difference
    from evaluators.latency.runtime import load_runtime
    from evaluators.latency.timing.bench import example

    try:
        way.write(network, task, path, **how)
        off = difference(load_runtime(runtime).load(path, 1)(), network, torch.from_numpy(example((1, *task.input))))
    except (InputError, OSError):
        raise
    except Exception as error:  # converters and runtimes may raise anything
        raise InputError(f"{path.name}: this network cannot be converted: {type(error).__name__}: {error}") from error
    if not off <= TOLERANCE:
        raise InputError(
            f"{path.name}: this network cannot be converted: the logits of {runtime} differ from torch's by {off:.2g} of the "
            f"largest, more than {TOLERANCE:g}"
        )


def _more(way: Format) -> tuple[str, ...]:
    return tuple(getattr(way, "MORE", ()))


def _check_packages(name: str, way: Format) -> None:
    from evaluators.latency.runtime import load_runtime

    if runtime := getattr(way, "RUNTIME", None):
        try:
            load_runtime(runtime).version()
        except InputError as error:
            raise InputError(f"the export format {name}: {error}") from None
