"""Tells the service manager how the daemon is, by sd_notify(3) and without its library."""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_S = 1.0
"""A manager that does not read for so long is told nothing; what it does not hear it will hear the next time."""


class Notifier:
    """The connection to the service manager; without one, as in a terminal, nothing is sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._told_failure = False
        self.watchdog_s = None if self._address is None else _watchdog_s(environ)
        """Within which time the manager wants a sign of life, None where it wants none."""

    @property
    def is_heard(self) -> bool:
        """Whether there is a manager."""
        return self._address is not None

    def tell(self, **said: str | int) -> None:
        """Send assignments in one message; a failure is logged once and changes nothing."""
        if self._address is None:
            return
        lines = (f"{name}={value}".replace("\n", " ") for name, value in said.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.settimeout(SEND_S)
                way.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._told_failure:
                log.warning("the service manager cannot be told how the daemon is: %s", error.strerror or error)
            self._told_failure = True
        else:
            self._told_failure = False


def now_usec() -> int:
    """The time as MONOTONIC_USEC wants it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def _address(written: str) -> str | None:
    """A path, or an abstract name, which begins with a zero byte (unix(7))."""
    if written.startswith("@"):
        return "\0" + written[1:]
    return written if written.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """The watchdog's period, where one is set for this process."""
    try:
        period_us = int(environ.get("WATCHDOG_USEC", ""))
        is_ours = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except ValueError:
        return None
    return period_us / 1e6 if period_us > 0 and is_ours else None
