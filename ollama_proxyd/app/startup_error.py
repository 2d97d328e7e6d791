"""Why the daemon does not start: one sentence, in the journal and the unit's status."""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.host.journal import is_journal, weighed
from ollama_proxyd.edges.host.notify import Notifier

UNAVAILABLE = 69
"""sysexits.h: EX_UNAVAILABLE; another program has the port or the socket."""
OS_ERROR = 71
"""EX_OSERR; the system refuses for another reason, such as an address that the machine does not have."""
NO_RIGHTS = 77
"""EX_NOPERM; the port needs rights that the program lacks."""
CONFIG = 78
"""EX_CONFIG; the configuration, or the socket unit, is wrong."""

STATUSES: Mapping[str | None, int] = {
    "port_taken": UNAVAILABLE,
    "permission_denied": NO_RIGHTS,
    "bad_socket": CONFIG,
}
"""By the code of the error; all others are the system's."""


def exit_status(error: ProxyError) -> int:
    """What the process ends with."""
    return STATUSES.get(error.code, OS_ERROR)


def say(message: str, environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Write it as an error, and have `systemctl status` show its first line."""
    stream = stream or sys.stderr
    message = printable(message, keep="\n")
    text = weighed(message, logging.ERROR) if is_journal(environ, stream) else message
    print(text, file=stream, flush=True)
    Notifier(environ).tell(STATUS=message.partition("\n")[0])
