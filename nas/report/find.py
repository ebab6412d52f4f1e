"""Find a network by name: an anchor, a genotype file, a run's best, or RUN:NETWORK."""

from pathlib import Path

from nas.records import Final
from nas.run.find import find_run
from nas.run.folder import Run
from search_spaces.anchor import anchor, anchor_names, base_name
from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import Genotype, read_genotype
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space
from search_spaces.task import Task, parse_size

_Found = tuple[str, Genotype, SearchSpace, Task]


def find_network(what: str, space_name: str, classes: int | None, size: str | None = None) -> _Found:
    """Find (title, genotype, space used for prediction, task) of an anchor, a genotype file, a run, or RUN:NETWORK.

    NETWORK is an id or an anchor name, by default the run's best. `size` (SIDE or HEIGHTxWIDTH) overrides the network's input.
    """
    found = _find_network(what, space_name, classes)
    return _at_size(found, size) if size else found


def _at_size(found: _Found, size: str) -> _Found:
    title, genotype, space, task = found
    genotype = genotype.at((task.input[0], *parse_size(size)))
    return title, genotype, space, genotype.task(task.classes)


def _find_network(what: str, space_name: str, classes: int | None) -> _Found:
    path, space = Path(what), load_space(space_name)
    run, name = find_run(what)
    if run:
        found = _network_of(run, name) if name else _best_of(run)
        return f"{name or 'best'} of {run.name}", found, run.space(), found.task(classes or len(run.resolved.classes))
    if path.is_file():
        genotype = read_genotype(path)
        return str(path), genotype, space, space.task(classes or 1000).of(genotype)
    name, at, size = what.partition("@")  # ANCHOR@SIZE, as in reports: mobilenet_v2@160
    if name not in anchor_names() and (path.is_dir() or "/" in what or path.suffix):
        raise InputError(f"{what} is neither a genotype file, nor a run folder, nor an anchor{near_miss(what, anchor_names())}")
    known = anchor(name)
    task = Task(known.task.input, classes or known.task.classes)
    named = f"{known.name} ({known.paper})", known.genotype, space, task
    return _at_size(named, size) if at else named


def _best_of(run: Run) -> Genotype:
    from nas.report.result import result

    found = result(run)
    if not found["best"]:
        raise InputError(f"{run.path} has no best network yet; see `nas status {run.path}`")
    return Genotype.parse(found["best"]["genotype"])


def _network_of(run: Run, name: str) -> Genotype:
    """A trained network of a run, by id or anchor name."""
    from nas.run.memory import read_journal

    memory = read_journal(run.journal)
    trained = [t for t in memory.trials if t.accuracies]
    known = {base_name(t.anchor): t.genotype for t in trained if t.anchor}
    known |= {t.anchor or t.genotype.id: t.genotype for t in trained}
    known |= {i: Genotype.parse(final.genotype) for i, final in memory.records(Final).items()}
    if name not in known:
        hint = f"`nas best {run.path}` lists its Pareto front"
        raise InputError(f'{run.path} has no trained network "{name}"{near_miss(name, known)}; {hint}')
    return known[name]
