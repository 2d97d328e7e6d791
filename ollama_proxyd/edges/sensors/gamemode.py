"""GameMode: how many games have asked for the machine's whole strength."""

from typing import Any, Final

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning, Properties, Remote, Service
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor, BusSource, Heard, Parts
from ollama_proxyd.services.ports import Clock

GAMEMODE = Service("com.feralinteractive.GameMode", "GameMode", package="gamemode", unit="", starts=False)
GAMES = Remote(GAMEMODE, "/com/feralinteractive/GameMode", "com.feralinteractive.GameMode")


def gamemode(line: BusLine, clock: Clock) -> BusSensor:
    """The sensor on the session bus; it never starts the daemon, which starts with the first game."""
    return BusSensor("gamemode", SOURCE, line, clock)


def read(heard: Heard) -> Parts:
    """How many games run; none do while GameMode is installed and no game has started it."""
    (said,) = heard
    return {"games": _games(said)}


def _games(said: Properties | Unavailable) -> Any:
    if isinstance(said, NotRunning):
        return 0 if said.is_installed else said
    if isinstance(said, Unavailable):
        return said
    count = said.get("ClientCount")
    return (
        count
        if isinstance(count, int)
        else Unavailable.because("not_reported", source="GameMode", detail="how many games run")
    )


SOURCE: Final = BusSource((GAMES,), ("games",), read)
