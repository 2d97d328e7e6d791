"""`ollama-proxyctl mode`, which is `ai-efficiency` too: show, choose and hold efficiency modes."""

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.hold import run
from ollama_proxyd.cli.parameters import MODE
from ollama_proxyd.cli.pictures import InForce, ModeInfo
from ollama_proxyd.cli.port import Daemon
from ollama_proxyd.cli.session import answer, asked, json_option


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def mode(context: click.Context) -> None:
    """Show or choose the efficiency mode; without a command, show it."""
    if context.invoked_subcommand is None:
        context.invoke(get)


@mode.command()
@json_option
def get() -> None:
    """Show the mode in force and why."""
    answer(in_force, render.mode)


@mode.command("set")
@click.argument("name", type=MODE, metavar="MODE")
@json_option
def set_(name: str) -> None:
    """Put a mode in force; it survives restarts and ends every hold."""

    def choose(daemon: Daemon) -> InForce:
        daemon.select(name)
        return in_force(daemon)

    answer(choose, render.mode)


@mode.command("list")
@json_option
def list_() -> None:
    """Show every mode with its price of time and its limits."""
    answer(lambda daemon: daemon.efficiency(), render.modes)


@mode.command()
@click.argument("name", type=MODE, metavar="MODE")
@json_option
def info(name: str) -> None:
    """Show what one mode asks for."""

    def find(daemon: Daemon) -> ModeInfo:
        return next(row for row in daemon.efficiency().modes if row.mode == name)

    answer(find, render.mode_info)


@mode.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--reason", help="Why, for people who look; without it, the command.")
@click.argument("name", type=MODE, metavar="MODE")
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--] COMMAND [ARGS]...",
)
def hold(name: str, reason: str | None, command: tuple[str, ...]) -> None:
    """Hold a mode while COMMAND runs, and end as it ends.

    Of several holds the thriftiest wins. Choosing a mode by hand ends them all.
    """
    command = _without_dashes(command)
    with asked().reach() as daemon:
        daemon.hold(name, reason or " ".join(command))
        status = run(command)
    click.get_current_context().exit(status)


def _without_dashes(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command; click leaves a `--` that stands after an argument."""
    command = words[1:] if words[:1] == ("--",) else words
    if not command:
        raise click.UsageError("name the command that is to run while the mode is held")
    return command


def in_force(daemon: Daemon) -> InForce:
    """The mode without the table of modes."""
    return daemon.efficiency().in_force
