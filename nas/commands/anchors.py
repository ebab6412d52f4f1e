"""`nas anchors`."""

import click

from nas.commands.options import Command, refuse_unused


@click.command("anchors", cls=Command)
@click.argument("names", nargs=-1)
@click.option("--device", default="local", show_default=True, help="Device profile for predicted latency.")
@click.option("--check", is_flag=True, help="Rebuild anchors and compare their params and MACs with the published figures.")
def command(names: tuple[str, ...], device: str, check: bool) -> None:
    """List hand-designed networks, all or NAMES: params, MACs, published accuracy, predicted latency."""
    from nas.report import anchors

    refuse_unused(device=(check, "--check compares with published figures, not latency"))
    if check:
        anchors.check_anchors(names)
    else:
        anchors.anchors(device, names)
