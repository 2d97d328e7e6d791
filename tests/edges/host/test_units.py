"""Units of engines are started, stopped and looked at by the user's manager."""

import os
from collections.abc import AsyncIterator

import pytest

from ollama_proxyd.edges.host.units import UserUnits
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from tests.desktop.private_bus import PrivateBus
from tests.edges.host.fake_units import FakeManager

UNIT = "ollama.service"


@pytest.fixture
async def manager(private_bus: PrivateBus) -> AsyncIterator[FakeManager]:
    manager = FakeManager()
    await manager.start(private_bus)
    manager.states[UNIT] = "active"
    yield manager
    await manager.close()


@pytest.fixture
async def units(private_bus: PrivateBus) -> AsyncIterator[UserUnits]:
    line = BusLine(private_bus.address, SystemClock())
    yield UserUnits(line)
    await line.close()


async def test_a_unit_is_stopped_and_started_by_jobs(manager: FakeManager, units: UserUnits) -> None:
    assert not await units.is_off(UNIT)
    await units.stop(UNIT)
    assert await units.is_off(UNIT)
    await units.start(UNIT)
    assert not await units.is_off(UNIT)
    assert manager.jobs == [("StopUnit", UNIT, "replace"), ("StartUnit", UNIT, "replace")]


@pytest.mark.parametrize(
    ("state", "is_off"),
    [("inactive", True), ("deactivating", True), ("failed", False), ("activating", False), ("reloading", False)],
)
async def test_only_what_was_stopped_is_off(manager: FakeManager, units: UserUnits, state: str, is_off: bool) -> None:
    manager.states[UNIT] = state
    assert await units.is_off(UNIT) is is_off


async def test_a_manager_that_refuses_says_why(manager: FakeManager, units: UserUnits) -> None:
    with pytest.raises(OSError, match=r"Unit nope\.service not found"):
        await units.start("nope.service")


@pytest.mark.parametrize(("job", "is_restarting"), [(None, False), ("stop", False), ("restart", True)])
async def test_a_restart_is_told_from_a_stop(
    manager: FakeManager, units: UserUnits, job: str | None, is_restarting: bool
) -> None:
    manager.job_of_own = job
    assert await units.is_restarting(os.getpid()) is is_restarting


async def test_what_runs_in_no_unit_is_not_restarted_by_anyone(manager: FakeManager, units: UserUnits) -> None:
    with pytest.raises(OSError, match="not found"):
        await units.is_restarting(1)


async def test_without_a_bus_there_is_no_manager() -> None:
    line = BusLine("unix:path=/nowhere/bus", SystemClock())
    with pytest.raises(OSError):  # noqa: PT011 - the words are the bus's
        await UserUnits(line).is_off(UNIT)
