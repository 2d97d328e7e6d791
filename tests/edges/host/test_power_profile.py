"""The profile power-saver is held while that is wanted, never against a person's own choice: fake daemon and real."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.host.power_profile import HeldProfile
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus import Bus, Target, connect
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.tasks import Tasks
from tests.desktop.private_bus import PrivateBus
from tests.edges.host.power_profiles_daemons import NAME, PATH, PROPERTIES, REAL, FakeProfiles, RealProfiles
from tests.fakes import FakeBackend, services_of

real = pytest.param(RealProfiles, marks=pytest.mark.skipif(not REAL.exists(), reason="no power-profiles-daemon here"))


@pytest.fixture(params=[FakeProfiles, real])
async def profiles(request: pytest.FixtureRequest, private_bus: PrivateBus) -> AsyncIterator[Any]:
    daemon = request.param()
    await daemon.start(private_bus)
    yield daemon
    await daemon.close()


@pytest.fixture
async def saver() -> PowerSaver:
    return (await services_of(FakeBackend("npu"), mode=Mode.EFFICIENCY)).power_saver


@pytest.fixture
async def line(private_bus: PrivateBus) -> AsyncIterator[BusLine]:
    line = BusLine(private_bus.address, SystemClock())
    yield line
    await line.close()


class Person:
    """Looks at the profile, and chooses another."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._properties = Target(NAME, PATH, PROPERTIES)

    async def sees(self, profile: str) -> None:
        async with asyncio.timeout(20):
            while await self._looks() != profile:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.005)

    async def _looks(self) -> str:
        (value,) = await self._bus.call(self._properties, "Get", "ss", [NAME, "ActiveProfile"])
        return str(value.value)

    async def chooses(self, profile: str) -> None:
        await self._bus.call(self._properties, "Set", "ssv", [NAME, "ActiveProfile", Variant("s", profile)])


@pytest.fixture
async def person(private_bus: PrivateBus) -> AsyncIterator[Person]:
    bus = await connect(private_bus.address)
    yield Person(bus)
    await bus.close()


async def until(saver: PowerSaver, *, is_held: bool) -> None:
    async with asyncio.timeout(20):
        while saver.is_held is not is_held:  # noqa: ASYNC110 - the hold is another process's
            await asyncio.sleep(0.002)


@pytest.mark.usefixtures("profiles")
async def test_it_is_held_while_wanted_and_given_back(saver: PowerSaver, line: BusLine, person: Person) -> None:
    async with Tasks("test") as tasks:
        tasks.start("hold", line.keep(HeldProfile(saver).follow, lambda _: None))
        for _ in range(3):
            saver.is_wanted.set(True)
            await until(saver, is_held=True)
            await person.sees("power-saver")
            saver.is_wanted.set(False)
            await until(saver, is_held=False)
            await person.sees("balanced")


@pytest.mark.usefixtures("profiles")
async def test_a_person_who_chooses_ends_it_for_good(saver: PowerSaver, line: BusLine, person: Person) -> None:
    async with Tasks("test") as tasks:
        tasks.start("hold", line.keep(HeldProfile(saver).follow, lambda _: None))
        saver.is_wanted.set(True)
        await until(saver, is_held=True)
        await person.chooses("balanced")
        await until(saver, is_held=False)
        assert not saver.is_wanted.value
        await person.sees("balanced")


@pytest.mark.usefixtures("profiles")
async def test_who_leaves_the_bus_holds_nothing(saver: PowerSaver, line: BusLine, person: Person) -> None:
    async with Tasks("test") as tasks:
        tasks.start("hold", line.keep(HeldProfile(saver).follow, lambda _: None))
        saver.is_wanted.set(True)
        await until(saver, is_held=True)
        await (await line.bus()).close()
        await until(saver, is_held=False)
        await person.sees("balanced")


@pytest.mark.usefixtures("profiles")
async def test_the_end_of_the_daemon_gives_it_back(saver: PowerSaver, line: BusLine, person: Person) -> None:
    async with Tasks("test") as tasks:
        tasks.start("hold", line.keep(HeldProfile(saver).follow, lambda _: None))
        saver.is_wanted.set(True)
        await until(saver, is_held=True)
    await person.sees("balanced")


async def test_a_refusal_is_told_once_and_changes_nothing(
    private_bus: PrivateBus, saver: PowerSaver, line: BusLine, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = FakeProfiles()
    daemon.refuses = True
    await daemon.start(private_bus)
    async with Tasks("test") as tasks:
        tasks.start("hold", line.keep(HeldProfile(saver).follow, lambda _: None))
        with caplog.at_level("INFO"):
            for _ in range(3):
                saver.is_wanted.set(True)
                async with asyncio.timeout(20):
                    while "is not held" not in caplog.text:  # noqa: ASYNC110 - only the log tells
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                saver.is_wanted.set(False)
                await asyncio.sleep(0.01)
    assert not saver.is_held
    assert sum("is not held" in record.message for record in caplog.records) == 1
    await daemon.close()
