"""The service leaves the bus for a moment, as before the daemon ends unused, and comes back."""

import asyncio

import pytest

from ollama_proxyd.edges.dbus_api.service import NAMES
from tests.edges.dbus_api.bus_desk import DAEMON_BUS, ROOT, ROOT_PATH, Desk, Program, Refused

EFFICIENCY = (ROOT, f"{ROOT_PATH}/Efficiency", f"{ROOT}.Efficiency")


async def test_a_call_that_is_under_way_is_answered_while_the_names_are_given_back(
    program: Program, desk: Desk
) -> None:
    calls = [asyncio.create_task(program.ask(EFFICIENCY, "GetMode")) for _ in range(20)]
    await asyncio.sleep(0)
    await desk.service.withdraw()
    assert len(set(await asyncio.gather(*calls))) == 1
    for name in NAMES:
        with pytest.raises(Refused, match="NameHasNoOwner"):
            await program.ask(DAEMON_BUS, "GetNameOwner", "s", name)


async def test_it_comes_back_under_all_its_names(program: Program, desk: Desk) -> None:
    await desk.service.withdraw()
    await desk.service.come_back()
    assert len({await program.ask(DAEMON_BUS, "GetNameOwner", "s", name) for name in NAMES}) == 1
    assert await program.ask(EFFICIENCY, "GetMode")


async def test_how_it_stands_is_known_once_the_names_are_taken(program: Program, desk: Desk) -> None:
    assert desk.service.trouble.value == ""
