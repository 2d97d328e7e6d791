"""A desk on a private bus, and a program beside it, for every test here."""

from collections.abc import AsyncIterator

import pytest

from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import Desk, Program, until_named
from tests.fakes import FakeBackend, MemoryStore, reference_fleet


@pytest.fixture
def fleet() -> dict[str, FakeBackend]:
    """The backends of the reference laptop by id."""
    return {backend.spec.id: backend for backend in reference_fleet()}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def desk(private_bus: PrivateBus, fleet: dict[str, FakeBackend], store: MemoryStore) -> AsyncIterator[Desk]:
    desk = await Desk.start(private_bus.address, *fleet.values(), store=store)
    yield desk
    await desk.stop()


@pytest.fixture
async def program(private_bus: PrivateBus, desk: Desk) -> AsyncIterator[Program]:
    program = await Program.start(private_bus.address)
    await until_named(program)
    yield program
    await program.stop()
