"""check_runtime: test suite for a latency runtime."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import torch

from evaluators.agreement import difference
from evaluators.latency.runtime import Clock, Graph, load_runtime
from evaluators.latency.timing.bench import example
from evaluators.precision import Precision
from evaluators.quantisers import quantiser_names
from nas.testing.networks import trained
from nas.testing.said import said
from search_spaces.genotype import Genotype
from search_spaces.task import Task

TASK = Task((3, 16, 16), 10)
GENOTYPE = Genotype.parse("conv 8/2\ninverted_residual 16/2 act=hard_swish se=0.25\nshuffle 24/2\nhead")
# relative to the largest logit; float32 sums of a hundred terms in another order differ by a few 1e-7
TOLERANCE = {"float32": 1e-4, "int8": 0.3}


def check_runtime(runtime: str) -> None:
    """Check the latency runtime `runtime`; raises AssertionError that says what is wrong.

    It must define its clock, lowering, precision, version and file suffix, in int8 also its quantiser. A prepared and loaded
    network must return torch's logits or, with a device clock, the seconds of a run.
    Raises InputError if there is no such runtime, or if a package that it needs is not installed.
    """
    code = load_runtime(runtime)
    assert code.CLOCK in get_args(Clock), f"runtime {runtime}: CLOCK must be one of {get_args(Clock)}, not {code.CLOCK!r}"
    assert code.GRAPH in get_args(Graph), f"runtime {runtime}: GRAPH must be one of {get_args(Graph)}, not {code.GRAPH!r}"
    known = get_args(Precision)
    assert code.DTYPE in known, f"runtime {runtime}: DTYPE must be one of {known}, not {code.DTYPE!r}"
    if code.DTYPE == "int8":
        own = getattr(code, "QUANTISER", None)
        assert own in quantiser_names(), f"runtime {runtime}: QUANTISER must be one of {quantiser_names()}, not {own!r}"
    assert code.SUFFIX.startswith("."), f"runtime {runtime}: SUFFIX must be a file suffix, not {code.SUFFIX!r}"
    assert code.version(), f"runtime {runtime} has no version"
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network, path = trained(GENOTYPE, TASK).eval(), Path(folder) / f"network{code.SUFFIX}"
        code.prepare(network, TASK, path)
        assert path.is_file(), f"runtime {runtime}: prepare does not write {path.name}"
        with said(f"runtime {runtime} cannot run a network that it prepared"):
            found = code.load(path, 1)()
    if code.CLOCK == "event":
        assert isinstance(found, float) and found > 0, f"runtime {runtime}: a run must return its seconds, not {found!r}"
        return
    off = difference(found, network, torch.from_numpy(example((1, *TASK.input))))
    assert off < TOLERANCE[code.DTYPE], f"runtime {runtime}: its logits differ from torch's by {off:.2g} of the largest"
