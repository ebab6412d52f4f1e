"""The run that RUN or RUN:NETWORK names."""

from pathlib import Path

from nas.run.config import RUN
from nas.run.folder import Run, open_run
from search_spaces.genotype import read_genotype


def leaves_input_open(what: str) -> bool:
    """Whether it is a genotype file that names no input."""
    path = Path(what)
    return find_run(what)[0] is None and path.is_file() and read_genotype(path).input is None


def find_run(what: str) -> tuple[Run | None, str]:
    """The run that RUN or RUN:NETWORK names, if it is one, and the name of its network, which may be empty."""
    if (Path(what) / RUN).is_file():
        return open_run(Path(what)), ""
    folder, _, name = what.partition(":")  # names have colons too: mobilenet_v3:small
    return (open_run(Path(folder)), name) if name and (Path(folder) / RUN).is_file() else (None, "")
