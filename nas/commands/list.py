"""`nas list`."""

import click

from nas.commands.options import Command


@click.command("list", cls=Command)
@click.argument("what", type=click.Choice(["spaces", "blocks", "anchors", "donors", "devices", "datasets"]))
def command(what: str) -> None:
    """What there is: spaces, blocks, anchors, donors (trained networks to inherit from), devices, datasets."""
    from nas.report import listing

    listing.show(what)
