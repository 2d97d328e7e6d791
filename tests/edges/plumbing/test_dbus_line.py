"""A bus that several share is connected once, and again after it was lost."""

import asyncio

import pytest

from ollama_proxyd.edges.plumbing.dbus import BUS, Bus, BusError
from ollama_proxyd.edges.plumbing.dbus_line import LONGEST_PAUSE_S, BusLine
from tests.desktop.private_bus import PrivateBus
from tests.fakes import FakeClock

NOWHERE = "unix:path=/nonexistent/bus"


class Pauses(FakeClock):
    """A clock that remembers how long somebody slept, and runs out of patience after so many times."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._patience = patience

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self._patience:
            raise asyncio.CancelledError
        await super().sleep(seconds)


async def test_all_who_ask_at_once_get_the_same_connection(private_bus: PrivateBus) -> None:
    line = BusLine(private_bus.address, FakeClock())
    first, second = await asyncio.gather(line.bus(), line.bus())
    assert first is second
    assert await line.bus() is first
    await line.close()
    assert not first.is_connected


async def test_a_lost_connection_is_replaced_by_the_next_who_asks(private_bus: PrivateBus) -> None:
    line = BusLine(private_bus.address, FakeClock())
    first = await line.bus()
    private_bus.stop()
    async with asyncio.timeout(20):
        await first.disconnected()
    with pytest.raises(BusError):
        await line.bus()
    private_bus.start()
    second = await line.bus()
    assert second is not first
    assert second.is_connected
    await line.close()


async def test_whoever_keeps_the_bus_has_it_again_when_it_is_back(private_bus: PrivateBus) -> None:
    line = BusLine(private_bus.address, FakeClock())
    used: asyncio.Queue[Bus] = asyncio.Queue()
    reasons: asyncio.Queue[str] = asyncio.Queue()

    async def use(bus: Bus) -> None:
        await used.put(bus)
        await bus.disconnected()
        raise bus.lost()

    keeping = asyncio.create_task(line.keep(use, reasons.put_nowait))
    async with asyncio.timeout(20):
        await used.get()
        private_bus.stop()
        assert "has ended" in await reasons.get()
        assert "cannot be reached" in await reasons.get()
        private_bus.start()
        again = await used.get()
    assert again.is_connected
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await line.close()


async def test_a_bus_that_stays_away_is_looked_for_less_and_less_often() -> None:
    clock = Pauses(patience=8)
    line = BusLine(NOWHERE, clock)
    reasons: list[str] = []

    async def use(bus: Bus) -> None:
        raise AssertionError

    with pytest.raises(asyncio.CancelledError):
        await line.keep(use, reasons.append)
    assert clock.pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert set(reasons) == {f"the bus at {NOWHERE} cannot be reached: No such file or directory"}


async def test_a_use_that_fails_while_the_bus_lives_is_tried_less_and_less_often(private_bus: PrivateBus) -> None:
    clock = Pauses(patience=3)
    line = BusLine(private_bus.address, clock)
    reasons: list[str] = []

    async def use(bus: Bus) -> None:
        await bus.call(BUS, "NoSuchMember")

    with pytest.raises(asyncio.CancelledError):
        await line.keep(use, reasons.append)
    assert clock.pauses == [1, 2, 4]
    assert "NoSuchMember" in reasons[0]
    await line.close()
