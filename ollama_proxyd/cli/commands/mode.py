"""`ollama-proxyctl mode`, which is `ai-efficiency` too: show, choose and hold efficiency modes."""

from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.hold import run
from ollama_proxyd.cli.parameters import MODE
from ollama_proxyd.cli.session import answer, asked, json_option

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client

REASON = "--reason"
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ModeGroup(click.Group):
    """A group in which the name of a mode is a command: `mode Quiet` is `mode set Quiet`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first argument, or `set` for a mode."""
        from ollama_proxyd.core.modes import parse_mode  # noqa: PLC0415 - 30 ms that most commands need not wait for

        if self.get_command(ctx, args[0]) is not None:
            return super().resolve_command(ctx, args)
        try:
            parse_mode(args[0])
        except ValueError as error:
            try:
                return super().resolve_command(ctx, args)
            except click.UsageError as unknown:
                message = f"{unknown.format_message()} {error}"  # it may have been meant as a mode
                raise click.UsageError(message, ctx) from error
        return "set", set_, args


@click.group(cls=ModeGroup, invoke_without_command=True)
@json_option
@click.pass_context
def mode(context: click.Context) -> None:
    """Show, choose or hold the efficiency mode.

    Without a command, show it; `mode Quiet` is `mode set Quiet`.
    """
    if context.invoked_subcommand is None:
        context.invoke(get)


@mode.command()
@json_option
def get() -> None:
    """Show the mode in force and why."""
    answer(efficiency, render.mode)


@mode.command("set")
@click.argument("name", type=MODE, metavar="MODE")
@json_option
def set_(name: str) -> None:
    """Put a mode in force; it survives restarts and ends every hold."""
    answer(lambda daemon: daemon.post("/efficiency", {"mode": name}), render.mode)


@mode.command("list")
@json_option
def list_() -> None:
    """Show every mode with its price of time and its limits."""
    answer(efficiency, render.modes)


@mode.command()
@click.argument("name", type=MODE, metavar="MODE")
@json_option
def info(name: str) -> None:
    """Show what one mode asks for."""
    answer(lambda daemon: next(row for row in efficiency(daemon)["modes"] if row["mode"] == name), render.mode_info)


class HoldCommand(click.Command):
    """A command whose options may stand before or after the mode."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the options before the mode, where click expects them."""
        return super().parse_args(ctx, args if ctx.resilient_parsing else _options_first(args))


@mode.command(cls=HoldCommand, context_settings={"allow_interspersed_args": False})
@click.option(REASON, help="The reason to show; by default the command.")
@click.argument("name", type=MODE, metavar="MODE")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND [ARGS]...")
def hold(name: str, reason: str | None, command: tuple[str, ...]) -> None:
    """Hold a mode while COMMAND runs; its exit status is returned.

    Of several holds the thriftiest wins. Choosing a mode by hand ends them all.
    """
    command = _without_dashes(command)
    with asked().reach() as daemon, daemon.hold(name, reason or " ".join(command)):
        status = run(command)
    click.get_current_context().exit(status)


@mode.command()
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reset", is_flag=True, help="Go back to the configuration, for these KEYs or all.")
@json_option
def settings(changes: tuple[str, ...], reset: bool) -> None:
    """Show or change when Auto takes which mode.

    The settings are the quiet hours and the battery's thresholds. Changes survive restarts.
    """
    if reset and any("=" in each for each in changes):
        raise click.UsageError("--reset takes the KEYs that are to be as configured again, without values")
    wanted: dict[str, Any] = dict.fromkeys(changes) if reset else _changes(changes)

    def change(daemon: "Client") -> Any:
        now = daemon.get("/settings")
        body = dict.fromkeys(now["changed"]) if reset and not wanted else wanted
        return daemon.post("/settings", body) if body else now

    answer(change, render.settings)


def _changes(words: tuple[str, ...]) -> dict[str, bool | float | str]:
    found: dict[str, bool | float | str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key or key in found:
            raise click.UsageError(f"{word!r} is not KEY=VALUE, each KEY once; such as low_battery_percent=30")
        found[key] = _value(value)
    return found


def _value(text: str) -> bool | float | str:
    """A value as a person writes it: a switch, a number or a text."""
    if text.lower() in SWITCHES:
        return SWITCHES[text.lower()]
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def _options_first(words: list[str]) -> list[str]:
    """The options around the mode, then the mode and the command."""
    at = _end_of_options(words, 0)
    end = _end_of_options(words, at + 1)
    return [*words[:at], *words[at + 1 : end], *words[at : at + 1], *words[end:]]


def _end_of_options(words: list[str], at: int) -> int:
    """Where the options that begin here end; raises UsageError for one without its text."""
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        if words[at] == REASON:
            at += 1
            if words[at : at + 1] in ([], ["--"]):
                raise click.UsageError(f"{REASON} needs a text: mode hold {REASON} TEXT MODE -- COMMAND")
        at += 1
    return at


def _without_dashes(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command; click leaves a `--` that stands after an argument."""
    command = words[1:] if words[:1] == ("--",) else words
    if not command:
        raise click.UsageError("name the command that is to run while the mode is held")
    return command


def efficiency(daemon: "Client") -> Any:
    """The mode in force and the table of modes."""
    return daemon.get("/efficiency")
