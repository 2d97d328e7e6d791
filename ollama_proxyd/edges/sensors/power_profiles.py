"""power-profiles-daemon: which power profile is active, and whether it cannot be kept up. Nothing is ever set."""

import logging
from typing import Any, Final

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning, Properties, Remote, Service
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor, BusSource, Heard, Parts
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

NAMES: Final = (
    ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
)
"""The present name and the one before version 0.20; newer versions own both."""

PART_OF: Final = {"power_profile": "ActiveProfile", "performance_degraded": "PerformanceDegraded"}


def power_profiles(line: BusLine, clock: Clock) -> BusSensor:
    """The sensor on the system bus; it never starts the daemon, which would change the profile by that alone."""
    return BusSensor("power_profiles", SOURCE, line, clock)


def read(heard: Heard) -> Parts:
    """Parts of the system's state from the first of the two names that answers."""
    said = min(heard, key=_rank)
    if isinstance(said, Unavailable):
        return dict.fromkeys(PART_OF, said)
    log.debug("power-profiles-daemon: %d holds", len(said.get("ActiveProfileHolds", ())))
    return {part: _text(said, name) for part, name in PART_OF.items()}


def _rank(said: Properties | Unavailable) -> int:
    """An answer comes before a reason; "no such name in this version" comes last."""
    if isinstance(said, NotRunning) and not said.is_installed:
        return 2
    return 1 if isinstance(said, Unavailable) else 0


def _text(said: Properties, name: str) -> Any:
    value = said.get(name)
    return (
        value
        if isinstance(value, str)
        else Unavailable.because("not_reported", source="power-profiles-daemon", detail=name)
    )


def _remote(name: str, path: str) -> Remote:
    service = Service(
        name, "power-profiles-daemon", package="power-profiles-daemon", unit="power-profiles-daemon", starts=False
    )
    return Remote(service, path, name)


SOURCE: Final = BusSource(tuple(_remote(name, path) for name, path in NAMES), tuple(PART_OF), read)
