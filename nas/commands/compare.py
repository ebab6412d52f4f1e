"""`nas compare`."""

import click

from nas.commands.options import Command, looking, refuse_unused


@click.command("compare", cls=Command)
@click.argument("first")
@click.argument("second")
@looking
@click.option("--measure", is_flag=True, help="Measure both on this machine, untrained, interleaved in one session.")
def command(
    *,
    first: str,
    second: str,
    device: str,
    space_name: str,
    classes: int | None,
    size: str | None,
    measure: bool,
) -> None:
    """Compare two networks: genotype files, anchors (ANCHOR or ANCHOR@SIZE), or runs."""
    from nas.report import comparison
    from nas.run.find import find_run

    own = [what for what in (first, second) if find_run(what)[0]]
    refuse_unused(space_name=(len(own) == 2, "both runs have their own space"))
    comparison.compare((first, second), device, space_name, classes=classes, measure=measure, size=size)
