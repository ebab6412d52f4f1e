"""Test suites for extensions: blocks, anchors, spaces, data sets, samplers, scores and runtimes.

    from nas.testing import check_block, check_sampler

    def test_my_block_and_sampler():
        check_block("my_block")
        check_sampler("my_sampler")

Each takes a name from `nas list`, or its equivalent on the command line, and raises AssertionError that says what is wrong.
pytest is not required. The suites are imported lazily.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.testing.anchors import check_anchor
    from nas.testing.blocks import check_block
    from nas.testing.datasets import check_dataset
    from nas.testing.runtimes import check_runtime
    from nas.testing.samplers import check_sampler
    from nas.testing.scores import check_score
    from nas.testing.spaces import check_space

_WHERE = {
    "check_anchor": "anchors",
    "check_block": "blocks",
    "check_dataset": "datasets",
    "check_runtime": "runtimes",
    "check_sampler": "samplers",
    "check_score": "scores",
    "check_space": "spaces",
}

__all__ = ["check_anchor", "check_block", "check_dataset", "check_runtime", "check_sampler", "check_score", "check_space"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
