"""The journal: whether standard error goes there, how lines carry their weight, and fields beside them."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from ollama_proxyd.core.text import printable

PRIORITIES: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""sd-daemon(3): `<N>` at the start of a line is its syslog priority."""
INFO: Final = 6
FIELDS: Final = {"request_id": "REQUEST_ID", "backend": "BACKEND", "mode": "MODE"}
"""What a record may carry, and what the journal calls it."""
IDENTIFIER: Final = "ollama-proxyd"

Send = Callable[..., Any]


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether a stream goes to the journal: JOURNAL_STREAM names its device and inode, and children inherit it."""
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


class PrintableFormatter(logging.Formatter):
    """A text in an argument stays on its line, and no character commands a terminal.

    An exception may have lines, such as the problems of a configuration and a traceback.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """The line by its format, printable."""
        if isinstance(record.args, tuple) and record.args:
            args = tuple([printable(each) if isinstance(each, str) else each for each in record.args])
            record.message = str(record.msg) % args
        record.message = printable(record.message, keep="\n")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """The traceback, printable."""
        return printable(super().formatException(ei), keep="\n")


class PrefixFormatter(PrintableFormatter):
    """One line a record with its priority; the journal adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, each physical line of it with the same priority."""
        return weighed(super().format(record), record.levelno)


def weighed(text: str, level: int) -> str:
    """A text as lines with their priority."""
    prefix = f"<{PRIORITIES.get(level, INFO)}>"
    return "\n".join(prefix + line for line in text.splitlines())


class FieldsHandler(logging.Handler):
    """Sends records with their fields; `journalctl BACKEND=nvidia` then finds them."""

    def __init__(self, send: Send, otherwise: logging.Handler) -> None:
        super().__init__()
        self._send = send
        self._otherwise = otherwise

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; where the journal takes no fields now, it goes the way of a plain line."""
        fields: dict[str, str | int] = {
            theirs: str(value) for ours, theirs in FIELDS.items() if (value := getattr(record, ours, None)) is not None
        }
        priority = PRIORITIES.get(record.levelno, INFO)
        fields |= {"PRIORITY": priority, "SYSLOG_IDENTIFIER": IDENTIFIER, "LOGGER": record.name}
        try:
            self._send(self.format(record), **fields)
        except OSError:
            self._otherwise.emit(record)


def journal_handler(stream: TextIO) -> logging.Handler:
    """The best way to the journal: with fields where systemd's Python module is installed, else lines with weights."""
    plain = logging.StreamHandler(stream)
    plain.setFormatter(PrefixFormatter("%(message)s"))
    try:
        send: Send = importlib.import_module("systemd.journal").send
    except (ImportError, AttributeError):
        return plain
    handler = FieldsHandler(send, plain)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    return handler
