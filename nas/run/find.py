"""Find the run named by RUN or RUN:NETWORK."""

from pathlib import Path

from nas.run.config import RUN
from nas.run.folder import Run, open_run
from search_spaces.genotype import read_genotype


def leaves_input_open(what: str) -> bool:
    """Whether `what` is a genotype file without an input line."""
    path = Path(what)
    return find_run(what)[0] is None and path.is_file() and read_genotype(path).input is None


def find_run(what: str) -> tuple[Run | None, str]:
    """The run named by RUN or RUN:NETWORK (None if there is none) and the network's name, possibly empty."""
    if (Path(what) / RUN).is_file():
        return open_run(Path(what)), ""
    folder, _, name = what.partition(":")  # network names may contain colons: mobilenet_v3:small
    return (open_run(Path(folder)), name) if name and (Path(folder) / RUN).is_file() else (None, "")
