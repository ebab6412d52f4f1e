"""How far a run is, and the best so far."""

from pathlib import Path
from typing import Any

from nas.console import make_console
from nas.run.folder import open_run
from nas.run.lock import is_running


def status(path: Path) -> None:
    """How far a run is; read from its folder, also while another process works on it."""
    from nas.report import table
    from nas.report.result import result

    console = make_console()
    run = open_run(path)
    found = result(run)
    if found["finished"]:
        table.show(console, found)
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


def _leader(run: Any) -> Any:
    from nas.pipeline.ranking import ranking
    from nas.run.memory import read_journal

    leaders = ranking(read_journal(run.journal).trials, anchors=True)
    return leaders[0] if leaders else None
