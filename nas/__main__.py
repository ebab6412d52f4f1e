"""`python -m nas` is `nas`: it imports nothing from the current directory, unless the packages are there."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from nas.commands.main import entry

entry()
