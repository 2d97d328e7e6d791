"""Log lines on standard error: with a priority prefix where the journal reads them, else with the time."""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

JOURNAL_PRIORITY = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""sd-daemon(3): `<N>` at the start of a line is its syslog priority."""


class JournalFormatter(logging.Formatter):
    """One line a record with its priority; the journal adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, each physical line of it with the same priority."""
        prefix = f"<{JOURNAL_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure(level: str, environ: Mapping[str, str], stream: TextIO = sys.stderr) -> None:
    """Send the daemon's log to `stream` from `level` on (debug, info, warning, error)."""
    handler = logging.StreamHandler(stream)
    if "JOURNAL_STREAM" in environ:
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ollama_proxyd").setLevel(level.upper())
