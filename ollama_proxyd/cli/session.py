"""What every command does: find the daemon, ask it, and print the answer for a person or a program."""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

import click

from ollama_proxyd.cli.port import Daemon
from ollama_proxyd.cli.reach import reach

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

HELP = {"help_option_names": ["-h", "--help"]}


class Asked:
    """What the options before the command say; every command finds it in its context."""

    def __init__(self) -> None:
        self.as_json = False
        self.url: str | None = None
        self.start = False

    def reach(self) -> Daemon:
        """The daemon; raises Unreachable."""
        return reach(self.url, start=self.start)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.ensure_object(Asked), str(parameter.name), value)


def json_option(command: Decorated) -> Decorated:
    """The option that every command has."""
    return click.option(
        "--json", "as_json", is_flag=True, expose_value=False, callback=_remember, help="Print JSON for programs."
    )(command)


def daemon_options(command: Decorated) -> Decorated:
    """The options of a program that say which daemon is meant."""
    url = click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        help="Ask over HTTP at this address, not over the session bus.",
    )
    start = click.option(
        "--start",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Have the session bus start the daemon if it does not run.",
    )
    return url(start(json_option(command)))


def asked() -> Asked:
    """What the options of the running command say."""
    return click.get_current_context().ensure_object(Asked)


def answer(ask: Callable[[Daemon], T], show: Callable[[T], str]) -> None:
    """Ask the daemon and print what it says."""
    with asked().reach() as daemon:
        data = ask(daemon)
    say(data, show)


def say(data: T, show: Callable[[T], str]) -> None:
    """Print data as JSON, or as text if nobody asked for JSON."""
    click.echo(json.dumps(plain(data), indent=2, ensure_ascii=False) if asked().as_json else show(data))


def plain(data: Any) -> Any:
    """Data as JSON writes it: an object for each picture."""
    if isinstance(data, tuple | list):
        return [plain(each) for each in data]
    return asdict(data) if is_dataclass(data) and not isinstance(data, type) else data
