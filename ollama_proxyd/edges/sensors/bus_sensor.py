"""What the sensors that listen on a bus have in common: they follow objects there and report what changed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

from ollama_proxyd.core.readings import Maybe, Reading, Sensed, Unavailable
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.dbus import Bus
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import Properties, Remote, follow
from ollama_proxyd.services.ports import Clock

Heard: TypeAlias = Sequence[Properties | Unavailable]
"""What each followed object says, in the order of the source's remotes."""

Parts: TypeAlias = Mapping[str, Any]
"""Parts of SystemState by name: plain values, or Unavailable."""


@value
class BusSource:
    """What a sensor follows and how it understands it. parts: the names of all that `read` gives."""

    name: str
    remotes: tuple[Remote, ...]
    parts: tuple[str, ...]
    read: Callable[[Heard], Parts]


class BusSensor:
    """Reports what a source says, and again whenever that changes."""

    def __init__(self, source: BusSource, line: BusLine, clock: Clock) -> None:
        self.name = source.name
        self._source = source
        self._line = line
        self._clock = clock
        self._told: Parts = {}

    async def follow(self, report: Callable[[Sensed], None]) -> None:
        """Report what is now and then every change, until cancelled; losses are reported as Unavailable."""
        self._told = {}

        async def use(bus: Bus) -> None:
            async with aclosing(follow(bus, self._source.remotes)) as states:
                async for heard in states:
                    self._tell(self._source.read(heard), report)

        def lost(reason: str) -> None:
            self._tell(dict.fromkeys(self._source.parts, Unavailable.because("bus_unavailable", detail=reason)), report)

        await self._line.keep(use, lost)

    def _tell(self, parts: Parts, report: Callable[[Sensed], None]) -> None:
        """Report the parts if one of them has changed."""
        if parts == self._told:
            return
        self._told = parts
        now_s = self._clock.monotonic()
        report(Sensed({name: _reading(value, now_s) for name, value in parts.items()}))


def _reading(value: Any, now_s: float) -> Maybe[Any]:
    return value if isinstance(value, Unavailable) else Reading(value, now_s)
