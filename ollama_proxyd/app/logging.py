"""Log lines on standard error: the way that the journal reads them where they go there, else with the time."""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

from ollama_proxyd.edges.host.journal import PrintableFormatter, is_journal, journal_handler
from ollama_proxyd.edges.host.syslog import Syslog, syslog_handler

log = logging.getLogger(__name__)


def configure(level: str, environ: Mapping[str, str], stream: TextIO | None = None, syslog: str | None = None) -> None:
    """Send the log to `stream` (standard error) from `level` on (debug, info, warning, error), and to `syslog`."""
    stream = stream or sys.stderr
    root = logging.getLogger()
    for each in root.handlers:
        if isinstance(each, Syslog):
            each.close()
    root.handlers[:] = [_handler(environ, stream)]
    root.setLevel(logging.WARNING)
    logging.getLogger("ollama_proxyd").setLevel(level.upper())
    if syslog is not None:
        try:
            root.addHandler(handler := syslog_handler(syslog))
            handler.look()
        except OSError as error:
            log.warning("monitoring.syslog: %s takes no lines now: %s", syslog, error.strerror or error)


def reads_journal(environ: Mapping[str, str]) -> bool:
    """Whether what is logged goes to the journal."""
    return is_journal(environ, sys.stderr)


def _handler(environ: Mapping[str, str], stream: TextIO) -> logging.Handler:
    if is_journal(environ, stream):
        return journal_handler(stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    return handler
