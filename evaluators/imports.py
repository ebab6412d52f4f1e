"""The import path for child processes: the same as this process's, without the current directory."""

import os
import sys
from pathlib import Path

HOME = os.fspath(Path(__file__).resolve().parents[1])  # the folder that contains these packages


def import_path() -> list[str]:
    """sys.path as absolute paths, without the current directory, where a folder could shadow a package.

    The current directory stays if it contains these packages.
    """
    here = os.path.realpath(os.curdir)
    left_out = {here} - {HOME}
    return [path for path in map(os.path.abspath, sys.path) if os.path.realpath(path) not in left_out]
