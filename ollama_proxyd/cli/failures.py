"""Why a command ends without its answer: one sentence on standard error, and a status that scripts can tell apart."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from ollama_proxyd.cli.printable import printable

HOW_TO_START = "start it with: ollama-proxyd"
HOW_TO_RESTART = "restart it with: systemctl --user restart ollama-proxyd"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a file says that takes no more output."""


class Program(click.Group):
    """A program whose complaint of its command line moves no cursor: scripts pass others' words."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """See click.Command."""
        with _printable_complaint(), _told_where_output_is_lost():  # --help prints here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        with _printable_complaint(), _told_where_output_is_lost():
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


@contextmanager
def _told_where_output_is_lost() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or error.filename is not None:
            raise
        let_go_of_output()
        raise Failed(f"what it has to say cannot be written: {error.strerror}") from None


def let_go_of_output() -> None:
    """Have what could not be written, and what follows, go nowhere; Python would try again at its end, and complain."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - pathlib costs 10 ms
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


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
        message, program = printable(self.message, keep="\n"), self._program or sys.argv[0].rpartition("/")[2]
        click.echo(f"{program}: {message}{self.advice}", file=file or sys.stderr)


class Invalid(Failed):
    """The daemon does not take what was asked for; the message says what it takes."""

    exit_code = 2  # as for a wrong command line


class Unreachable(Failed):
    """No daemon answers; the message says where it was looked for."""

    exit_code = 69  # sysexits.h: EX_UNAVAILABLE
    advice = f"; {HOW_TO_START}"


class Silent(Unreachable):
    """Something listens where the daemon is looked for, and does not answer."""

    advice = f"; {HOW_TO_RESTART}"


class BadConfig(Failed):
    """The configuration is wrong; the message has a line for each problem."""

    exit_code = 78  # sysexits.h: EX_CONFIG; systemd shows it by this name
