"""What only a message bus can answer: who is on it, and please start the daemon."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from dbus_fast import BusType

from ollama_proxyd.cli.failures import Unreachable
from ollama_proxyd.edges.plumbing.dbus import Bus, connect

T = TypeVar("T")

NAME = "ie.fio.OllamaProxy"


def start_daemon() -> None:
    """Have the session bus start the daemon and wait until it is there; raises Unreachable."""
    try:
        asyncio.run(_ask(BusType.SESSION, lambda bus: bus.start(NAME)))
    except OSError as error:
        raise Unreachable(f"the session bus cannot start the daemon: {error}") from None


def find(
    which: BusType | str, names: Iterable[str], *, or_startable: bool = False
) -> tuple[str | None, Mapping[str, bool]]:
    """Why there is no such bus, and for each name whether it has an owner, or can be started. Starts nothing."""

    async def look(bus: Bus) -> dict[str, bool]:
        return {
            name: await bus.owner_of(name) is not None or (or_startable and await bus.can_start(name)) for name in names
        }

    try:
        return None, asyncio.run(_ask(which, look))
    except OSError as error:
        return str(error), {}


async def _ask(which: BusType | str, question: Callable[[Bus], Awaitable[T]]) -> T:
    bus = await connect(which)
    try:
        return await question(bus)
    finally:
        await bus.close()
