"""Locks of logind that hold off sleep, for a moment or altogether, as long as a file is open."""

import os
from typing import Any

from ollama_proxyd.edges.plumbing.dbus import Bus, Target
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES

LOGIND = Target("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
WHO = "ollama-proxyd"
DEFAULT_DELAY_S = 5.0
"""logind's own default for InhibitDelayMaxSec."""


class Inhibitor:
    """One lock, from taking it until `release`."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def release(self) -> None:
        """Let go; releasing again does nothing."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None


async def inhibit(bus: Bus, what: str, mode: str, why: str) -> Inhibitor:
    """Take a lock on "sleep" or "idle:sleep", to "delay" or to "block" it; raises OSError."""
    return Inhibitor(await bus.call_for_file(LOGIND, "Inhibit", "ssss", [what, WHO, why, mode]))


async def longest_delay_s(bus: Bus) -> float:
    """How long logind waits for delaying locks."""
    properties = Target(LOGIND.name, LOGIND.path, PROPERTIES)
    try:
        (value,) = await bus.call(properties, "Get", "ss", [LOGIND.interface, "InhibitDelayMaxUSec"])
    except OSError:
        return DEFAULT_DELAY_S
    delay_us: Any = value.value
    return delay_us / 1e6 if isinstance(delay_us, int) and delay_us > 0 else DEFAULT_DELAY_S
