"""What every command does: find the daemon, ask it, and print the answer for a person or a program."""

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ollama_proxyd.cli.failures import Silent, Unreachable
from ollama_proxyd.cli.printable import printable, printable_data

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

HELP = {"help_option_names": ["-h", "--help"]}


class Asked:
    """The options before the command; every command finds them in its context."""

    def __init__(self) -> None:
        self.as_json = False
        self.url: str | None = None
        self.start = False

    def reach(self) -> "Client":
        """The daemon; raises Failed."""
        from ollama_proxyd.cli.client import reach  # noqa: PLC0415 - 40 ms that --help need not wait for

        try:
            return reach(self.url)
        except Unreachable as error:
            if not self.start or self.url or isinstance(error, Silent):
                raise
        from ollama_proxyd.cli.session_bus import start_daemon  # noqa: PLC0415 - 0.2 s for D-Bus

        start_daemon()
        return reach(None)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.ensure_object(Asked), str(parameter.name), value)


_option = partial(click.option, expose_value=False, callback=_remember)
json_option = _option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
"""The option that every command has."""


def daemon_options(command: Decorated) -> Decorated:
    """The options of a program that say which daemon is meant."""
    url = _option("--url", metavar="URL", help="Ask at this address: http://HOST:PORT or unix:/PATH.")
    start = _option("--start", is_flag=True, help="Start the daemon through the session bus if it does not run.")
    return url(start(json_option(command)))


def asked() -> Asked:
    """The options of the running command."""
    return click.get_current_context().ensure_object(Asked)


def answer(ask: "Callable[[Client], Any]", show: Callable[[Any], str]) -> None:
    """Ask the daemon and print its answer."""
    with asked().reach() as daemon:
        data = ask(daemon)
    say(data, show)


def say(data: Any, show: Callable[[Any], str]) -> None:
    """Print data as JSON if that was asked for, else as text."""
    click.echo(json_text(data, indent=2) if asked().as_json else printable(show(printable_data(data)), keep="\n"))


def json_text(data: Any, indent: int | None = None) -> str:
    """Data as JSON; JSON itself leaves DEL, C1 and bidirectional controls as they are, which a terminal obeys."""
    from ollama_proxyd.core.digits import shortened  # noqa: PLC0415 - commands without JSON load nothing of the core

    text = json.dumps(shortened(data), indent=indent, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
