"""What `nas status`, `nas show` and `nas anchors` print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nas.console import make_bar, make_console
from nas.run import RUN, Run, is_running, open_run
from nas.session import known_profile, predictor_of
from nas.standing import base_name
from search_spaces.anchor import Anchor, anchor, anchor_names
from search_spaces.anchor import anchors as all_anchors
from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import Genotype, read_genotype
from search_spaces.space import SearchSpace, load_space
from search_spaces.task import Task, parse_size

if TYPE_CHECKING:
    from nas.anchor_check import Figure
    from nas.milliseconds import Predicted, Profiled


def status(path: Path) -> None:
    """How far a run or a training is; read from its folder, also while another process works on it."""
    from nas import report, train
    from nas.result import result

    if train.is_training(path):
        train.status(path)
        return
    console = make_console()
    run = open_run(path)
    found = result(run)
    if found["finished"]:
        report.show(console, found)
        return
    n, doing = found["counts"], "at work" if is_running(path) else f"interrupted; `nas resume {path}` goes on"
    console.print(f"{run.path}: {doing}", highlight=False)
    console.print(
        f"{n['trained']} of {run.config.trials} candidates trained ({n['stopped_early']} stopped early), {n['failed']} failed, "
        f"{n['rejected']} rejected, {n['repeated']} repeated; {n['anchors_trained']} anchors in the search; "
        f"{len(found['finalists']) + len(found['anchors'])} networks retrained"
    )
    leader = _leader(run)
    if leader:
        console.print(
            f"Best so far: {leader.anchor or leader.genotype.id}, {leader.accuracy:.2%} on validation, "
            f"{leader.estimate.text.strip()}\n{leader.genotype.text}",
            highlight=False,
        )


def show(
    what: str,
    device: str,
    space_name: str,
    classes: int | None,
    measure: bool = False,
    plot: Path | None = None,
    size: str | None = None,
) -> None:
    """The table of blocks that a paper would print, with predicted milliseconds where the device was measured.

    `measure`: times the network here, too; `plot`: a .png or .svg file for the milliseconds as bars; `size`: of another
    input than the network's own.
    """
    from evaluators.cost import cost
    from evaluators.dynamic import expected_macs, gated_blocks
    from nas import milliseconds

    milliseconds.check_plot(plot)
    console = make_console()
    title, genotype, space, task = find_network(what, space_name, classes, size)
    found, note = _predicted_parts(genotype, task, device, space)
    if plot and found is None:
        raise InputError(f"--plot shows predicted latency. {note}")
    figures, own = milliseconds.measured_one(genotype, task, device, space) if measure else (None, milliseconds.NONE)
    total = cost(genotype, task)
    console.print(_block_table(title, genotype, task, found, own))
    if gates := gated_blocks(genotype):
        half = expected_macs(genotype, task, 0.5) / 1e6
        console.print(f"MACs are the worst case; {half:.1f} M are expected when half of the {gates} gated blocks run.")
    console.print(f"Peak activation memory {total.peak_mib:.2f} MiB (float32, batch 1). {note}", highlight=False)
    milliseconds.show(console, genotype, found, own)
    if figures:
        console.print(milliseconds.measured_line(figures), highlight=False)
    if plot and found:
        milliseconds.plot(plot, title, genotype, found, own)
        console.print(f"Plot: {plot}", highlight=False)


def _block_table(title: str, genotype: Genotype, task: Task, found: "Predicted | None", own: "Profiled") -> Table:
    """Blocks with shapes, params, MACs, predicted milliseconds, profiled ones where known; the whole network below."""
    from evaluators.cost import block_costs, cost

    table = Table(title=title, title_justify="left")
    for column in ("#", "block", "input", "output", "params", "MACs M", "ms", *(["profiled"] if own.block_ms else [])):
        table.add_column(column, justify="left" if column == "block" else "right")
    for i, block in enumerate(block_costs(genotype, task)):
        table.add_row(
            str(i + 1),
            block.spec.text,
            _shape(block.in_shape),
            _shape(block.out_shape),
            f"{block.cost.params:,}",
            f"{block.cost.macs / 1e6:.2f}",
            f"{found.block_ms[i]:.3f}" if found else "-",
            *([f"{own.block_ms[i]:.3f}"] if own.block_ms else []),
        )
    total = cost(genotype, task)
    table.add_section()
    table.add_row(
        "",
        f"total ({genotype.id})",
        _shape(task.input),
        str(task.classes),
        f"{total.params:,}",
        f"{total.macs / 1e6:.1f}",
        f"{found.ms:.2f}" if found else "-",
        *([f"{sum(own.block_ms):.2f}"] if own.block_ms else []),
    )
    return table


def anchors(device: str, names: Sequence[str]) -> None:
    """Hand-designed networks in a table: all, or those of the given names and families."""
    from evaluators.latency.profile import LOCAL

    console = make_console()
    predictor = find_predictor(device, load_space("mobile"))
    table = Table(title="Hand-designed networks", title_justify="left")
    for column in ("anchor", "family", "params M", "MACs M", "top-1", "predicted ms", "source of the printed figures"):
        table.add_column(column, justify="left" if column[0] in "afs" else "right", overflow="fold")
    for a in _chosen(names):
        top1 = "-" if a.published.top1 is None else f"{a.published.top1:.1f}"
        figures = (f"{a.params / 1e6:.2f}", f"{a.macs / 1e6:.0f}", top1, _predicted(predictor, a))
        table.add_row(a.name, a.family, *figures, a.published.source)
    console.print(table)
    if predictor:
        slower = predictor.usual_slowdown - 1
        console.print(f"Latency is predicted at the machine's usual speed, {slower:.0%} slower than at its quietest.")
    else:
        where = "this machine" if device == LOCAL else device
        console.print(
            f"No predicted latency: {where} has not been measured for the space mobile; `nas device measure` does it."
        )


def check_anchors(names: Sequence[str]) -> None:
    """Rebuilds anchors and prints how their counts differ from the exact ones on file and from what was printed.

    Raises InputError when a count on file is not reproduced.
    """
    from nas.anchor_check import check

    console, chosen, wrong = make_console(), _chosen(names), []
    table = Table(title="Anchors rebuilt", title_justify="left")
    for column in ("anchor", "params", "MACs", "on file", "printed params", "printed MACs", "by the rule", "verdict"):
        table.add_column(column, justify="left" if column[0] in "abv" else "right", overflow="fold")
    with make_bar(console, transient=True) as bar:
        for a in bar.track(chosen, description="rebuilding"):
            found = check(a)
            wrong += [] if found.exact else [a.name]
            on_file = "same" if found.exact else f"{a.params:,} {a.macs:,}"
            printed = (_printed(figure) for figure in (found.printed_params, found.printed_macs))
            table.add_row(a.name, f"{found.params:,}", f"{found.macs:,}", on_file, *printed, found.rules, found.verdict)
    console.print(table)
    console.print(f"{len(chosen)} anchors rebuilt; {len(chosen) - len(wrong)} have exactly the counts on file.")
    if wrong:
        raise InputError(f"not the counts on file: {', '.join(wrong)}")


def _printed(figure: "Figure | None") -> str:
    return "-" if figure is None else f"{figure.printed_m:g} M ({figure.difference:+.1%})"


def _chosen(names: Sequence[str]) -> list[Anchor]:
    """The anchors of these names; a file's name alone stands for all its variants, no name for all anchors."""
    found: dict[str, Anchor] = {}
    for name in names:
        variants = [n for n in anchor_names() if n.partition(":")[0] == name] or [name]
        found |= {n: anchor(n) for n in variants}
    return list(found.values()) if names else all_anchors()


_Found = tuple[str, Genotype, SearchSpace, Task]


def find_network(what: str, space_name: str, classes: int | None, size: str | None = None) -> _Found:
    """(title, genotype, space that predicts it, task) of an anchor, a genotype file, a run, or RUN:NETWORK.

    A run's NETWORK is named by its id or as an anchor; without it the best is meant. `size`, a side or HEIGHTxWIDTH, is that
    of another input than the network's own.
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
        return f"{name or 'best'} of {run.name}", found, run.space(), found.task(classes or len(run.config.classes))
    if path.is_file():
        genotype = read_genotype(path)
        return str(path), genotype, space, space.task(classes or 1000).of(genotype)
    name, at, size = what.partition("@")  # as reports name an anchor at one of a space's inputs: mobilenet_v2@160
    if name not in anchor_names() and (path.is_dir() or "/" in what or path.suffix):
        raise InputError(f"{what} is neither a genotype file, nor a run folder, nor an anchor{near_miss(what, anchor_names())}")
    known = anchor(name)
    task = Task(known.task.input, classes or known.task.classes)
    named = f"{known.name} ({known.paper})", known.genotype, space, task
    return _at_size(named, size) if at else named


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


def _best_of(run: Run) -> Genotype:
    from nas.result import result

    found = result(run)
    if not found["best"]:
        raise InputError(f"{run.path} has no best network yet; `nas status {run.path}` tells how far it is")
    return Genotype.parse(found["best"]["genotype"])


def _network_of(run: Run, name: str) -> Genotype:
    """The network of a run that was trained, by its id, or as an anchor by its name."""
    from nas.study import read_journal

    memory = read_journal(run.journal)
    trained = [t for t in memory.trials if t.accuracies]
    known = {base_name(t.anchor): t.genotype for t in trained if t.anchor}
    known |= {t.anchor or t.genotype.id: t.genotype for t in trained}
    known |= {i: Genotype.parse(final["genotype"]) for i, final in memory.notes("final").items()}
    if name not in known:
        hint = f"`nas best {run.path}` lists its front"
        raise InputError(f'{run.path} has trained no network "{name}"{near_miss(name, known)}; {hint}')
    return known[name]


def _predicted_parts(genotype: Genotype, task: Task, device: str, space: SearchSpace) -> tuple["Predicted | None", str]:
    """A network's predicted latency in its parts, or None; and a sentence for the person."""
    from nas.milliseconds import predicted

    predictor = find_predictor(device, space)
    if predictor is None:
        hint = f"`nas device measure --space {space.name}`"
        return None, f"No predicted latency: the device was not measured for the space {space.name}; {hint}."
    try:
        found = predicted(predictor, genotype, task)
    except InputError as error:
        return None, f"No predicted latency: {error}"
    usual = f"Predicted {found.ms:.2f} ms, upper bound {found.bound_ms:.2f} ms, at the machine's usual speed"
    return found, f"{usual} ({found.quiet_ms:.2f} ms at its quietest)."


def find_predictor(device: str, space: SearchSpace) -> Any:
    """The predictor of a device, which may be elsewhere, for a space; None when this machine was not measured for it."""
    profile = known_profile(device, space, anywhere=True)
    return predictor_of(profile, space, anywhere=True) if profile else None


def _predicted(predictor: Any, entry: Any) -> str:
    if predictor is None:
        return "-"
    try:
        return f"{predictor.usual_slowdown * predictor.predict(entry.genotype, entry.task).ms:.2f}"
    except InputError:
        return "not covered"


def _leader(run: Any) -> Any:
    from nas.standing import ranking
    from nas.study import read_journal

    leaders = ranking(read_journal(run.journal).trials, anchors=True)
    return leaders[0] if leaders else None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
