"""A sensor on a bus reports what changed, when it changed, and why it knows nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbus_fast import Variant

from ollama_proxyd.core.readings import Reading, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor, BusSource
from ollama_proxyd.edges.sensors.desktop_services import (
    BATTERY,
    DAEMON,
    GAME_COUNT,
    POWER,
    POWER_PROFILES,
    PROFILE_NAMES,
    UPOWER,
)
from ollama_proxyd.services.ports import Clock
from tests.desktop.fake_objects import FakeObjects
from tests.desktop.private_bus import PrivateBus
from tests.fakes import FakeClock
from tests.reasons import why

SWITCH = (DAEMON.path, DAEMON.interface)
CELLS = (BATTERY.path, BATTERY.interface)


def laptop() -> FakeObjects:
    battery = {
        "IsPresent": Variant("b", True),
        "Type": Variant("u", 2),
        "State": Variant("u", 1),
        "Percentage": Variant("d", 80.0),
        "WarningLevel": Variant("u", 1),
        "EnergyRate": Variant("d", 30.0),
        "TimeToEmpty": Variant("x", 0),
    }
    return FakeObjects({SWITCH: {"OnBattery": Variant("b", False)}, CELLS: battery})


class Reports:
    """What a sensor reported, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Sensed] = asyncio.Queue()

    def __call__(self, sensed: Sensed) -> None:
        self._queue.put_nowait(sensed)

    async def next(self) -> Sensed:
        async with asyncio.timeout(20):
            return await self._queue.get()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()


@asynccontextmanager
async def reports_of(source: BusSource, address: str, clock: Clock) -> AsyncIterator[Reports]:
    line, reports = BusLine(address, clock), Reports()
    following = asyncio.create_task(BusSensor(source, line, clock).follow(reports))
    yield reports
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await line.close()


async def test_the_first_report_says_all_that_is_known(private_bus: PrivateBus) -> None:
    service = await laptop().start(private_bus.address, UPOWER.name)
    async with reports_of(POWER, private_bus.address, FakeClock(monotonic_s=7.0)) as reports:
        first = await reports.next()
    assert first.system["on_battery"] == Reading(False, 7.0)
    assert first.system["battery_percent"] == Reading(80.0, 7.0)
    assert first.devices == ()
    await service.stop()


async def test_a_change_is_reported_with_its_time(private_bus: PrivateBus) -> None:
    service, clock = await laptop().start(private_bus.address, UPOWER.name), FakeClock(monotonic_s=7.0)
    async with reports_of(POWER, private_bus.address, clock) as reports:
        await reports.next()
        clock.advance(5)
        service.change(CELLS, Percentage=Variant("d", 81.0))
        second = await reports.next()
    assert second.system["battery_percent"] == Reading(81.0, 12.0)
    await service.stop()


async def test_a_property_that_nobody_asked_for_reports_nothing(private_bus: PrivateBus) -> None:
    service = await laptop().start(private_bus.address, UPOWER.name)
    async with reports_of(POWER, private_bus.address, FakeClock()) as reports:
        await reports.next()
        service.change(CELLS, IconName=Variant("s", "battery-good-symbolic"))
        service.change(CELLS, Percentage=Variant("d", 81.0))
        await reports.next()
        assert reports.waiting == 0
    await service.stop()


async def test_a_daemon_under_both_names_reports_each_change_once(private_bus: PrivateBus) -> None:
    interfaces = [(path, name) for name, path in PROFILE_NAMES]
    profile = {"ActiveProfile": Variant("s", "balanced"), "PerformanceDegraded": Variant("s", "")}
    service = await FakeObjects(dict.fromkeys(interfaces, profile)).start(
        private_bus.address, *(name for name, _ in PROFILE_NAMES)
    )
    async with reports_of(POWER_PROFILES, private_bus.address, FakeClock(monotonic_s=7.0)) as reports:
        told = [(await reports.next()).system["power_profile"]]
        for word in ("performance", "power-saver"):
            for interface in interfaces:
                service.change(interface, ActiveProfile=Variant("s", word))
            told.append((await reports.next()).system["power_profile"])
        assert reports.waiting == 0
    assert told == [Reading(word, 7.0) for word in ("balanced", "performance", "power-saver")]
    await service.stop()


async def test_a_daemon_that_goes_and_comes_back_is_reported_both_times(private_bus: PrivateBus) -> None:
    service = await laptop().start(private_bus.address, UPOWER.name)
    async with reports_of(POWER, private_bus.address, FakeClock()) as reports:
        await reports.next()
        await service.stop()
        gone = await reports.next()
        again = await laptop().start(private_bus.address, UPOWER.name)
        back = await reports.next()
    reason = "UPower has left the bus; start it: systemctl start upower"
    assert set(gone.system) == set(back.system)
    assert {str(part.reason) for part in gone.system.values()} == {reason}
    assert isinstance(back.system["on_battery"], Reading)
    await again.stop()


async def test_a_lost_bus_makes_every_part_unavailable_until_it_is_back(private_bus: PrivateBus) -> None:
    service = await laptop().start(private_bus.address, UPOWER.name)
    async with reports_of(POWER, private_bus.address, FakeClock()) as reports:
        await reports.next()
        private_bus.stop()
        lost = await reports.next()
        private_bus.start()
        again = await laptop().start(private_bus.address, UPOWER.name)
        while not isinstance((back := await reports.next()).system["on_battery"], Reading):
            pass
    assert all(isinstance(part, Unavailable) and "has ended" in str(part.reason) for part in lost.system.values())
    assert set(lost.system) == set(back.system)
    await service.stop()
    await again.stop()


async def test_without_a_bus_the_reason_is_reported_once() -> None:
    clock = FakeClock()
    async with reports_of(GAME_COUNT, "unix:path=/nonexistent/bus", clock) as reports:
        only = await reports.next()
        for _ in range(50):
            await asyncio.sleep(0)
        assert clock.monotonic() > 1_100  # several attempts
        assert reports.waiting == 0
    (part,) = only.system.values()
    assert why(part) == "the bus at unix:path=/nonexistent/bus cannot be reached: No such file or directory"
