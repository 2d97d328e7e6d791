"""Why a command ends without its answer: one sentence on standard error, and a status that scripts can tell apart."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from ollama_proxyd.cli.printable import printable

HOW_TO_START = "start it with: ollama-proxyd"


class Program(click.Group):
    """A program whose complaint of its command line moves no cursor: scripts pass others' words."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """See click.Command."""
        with _printable_complaint():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        with _printable_complaint():
            return super().invoke(ctx)


@contextmanager
def _printable_complaint() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        message = error.format_message()
        if (shown := printable(message, keep="\n")) == message:
            raise
        raise click.UsageError(shown, error.ctx) from error


class Failed(click.ClickException):
    """The daemon refused, or cannot do this; the message says why."""

    exit_code = 1
    advice = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        context = click.get_current_context(silent=True)
        self._program = context.find_root().info_name if context else None

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence after the name of the program."""
        message = printable(self.message, keep="\n")
        click.echo(f"{self._program or 'ollama-proxyctl'}: {message}{self.advice}", file=file or sys.stderr)


class Invalid(Failed):
    """The daemon does not take what was asked for; the message says what it takes."""

    exit_code = 2  # as for a wrong command line


class Unreachable(Failed):
    """No daemon answers; the message says where it was looked for."""

    exit_code = 69  # sysexits.h: EX_UNAVAILABLE
    advice = f"; {HOW_TO_START}"


class BadConfig(Failed):
    """The configuration is wrong; the message has a line for each problem."""

    exit_code = 78  # sysexits.h: EX_CONFIG; systemd shows it by this name
