"""`nas list`."""

import click

from nas.commands.options import Command

KINDS = [
    "spaces",
    "blocks",
    "anchors",
    "donors",
    "devices",
    "datasets",
    "samplers",
    "evaluators",
    "recipes",
    "runtimes",
    "formats",
]


@click.command("list", cls=Command)
@click.argument("what", type=click.Choice(KINDS))
def command(what: str) -> None:
    """List what is available of a kind; donors are trained networks to inherit weights from."""
    from nas.report import listing

    listing.show(what)
