"""`python -m nas`: same as `nas`; does not import from the current directory unless this package is there."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from nas.commands.main import entry

entry()
