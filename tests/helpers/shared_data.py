"""Files that lie outside the repository in shared/data/: a test that wants one is skipped where it is missing."""

from pathlib import Path

import pytest


def shared_file(name: str) -> Path:
    """The path of shared/data/NAME beside or above the checkout; skips the test where there is none."""
    for folder in Path(__file__).parents:
        if (path := folder / "shared" / "data" / name).is_file():
            return path
    pytest.skip(f"shared/data/{name} is not here")
