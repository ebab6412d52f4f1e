"""The group of commands, and the entry point."""

import importlib
import platform
import signal
import sys

import click

from nas.commands.options import Group
from nas.signals import STOPPED, Stop, end_stopped
from search_spaces.errors import InputError, os_reason
from search_spaces.plugins import modules_of


class _Commands(Group):
    """The commands of this folder, one `command` per file; each is imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        stems = [module.rpartition(".")[2] for module in modules_of("nas.commands")]
        return [stem for stem in stems if stem not in ("main", "options", "output")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"nas.commands.{cmd_name}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="compact-nas", prog_name="nas")
def cli() -> None:
    """Find the most accurate compact network within a latency budget, measured on your device."""


def main() -> None:
    """Entry point. User and OS errors: one message, exit code 2; Ctrl-C: 130; SIGTERM: 143."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names that are not UTF-8
    if platform.system() == "Windows":
        click.echo("nas: supports Linux and macOS; on Windows, use the Windows Subsystem for Linux (WSL)", err=True)
        sys.exit(2)
    with Stop() as stop:
        try:
            cli(standalone_mode=False)
        except InputError as error:
            click.echo(f"nas: {error}", err=True)
            sys.exit(2)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            click.echo(f"nas: {_worded(error)}", err=True)
            sys.exit(2)
        except OSError as error:
            click.echo(f"nas: {os_reason(error)}", err=True)
            sys.exit(2)
        except (KeyboardInterrupt, click.Abort):
            click.echo("nas: stopped", err=True)
            sys.exit(stop.exit_code)


def _worded(error: click.ClickException) -> str:
    """An error of the command line in one line, like all others, with the command that explains its options."""
    message = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    words = [parent.info_name or "" for parent in _line(context)][1:]
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{' '.join(['nas', *words, '--help'])}`."


def _line(context: click.Context | None) -> list[click.Context]:
    """A context and those above it, the outermost first."""
    return [] if context is None else [*_line(context.parent), context]


def entry() -> None:
    """Run `main` as a process; afterwards Ctrl-C silently ends the interpreter's shutdown."""
    try:
        main()
    except SystemExit as end:
        if end.code in STOPPED:
            end_stopped(end.code)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
