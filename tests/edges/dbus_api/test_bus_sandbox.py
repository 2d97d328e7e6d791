"""Programs in a sandbox reach the daemon through xdg-dbus-proxy, as Flatpak has them."""

import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from ollama_proxyd.core.holds import MOST_OF_ONE
from ollama_proxyd.edges.dbus_api.errors import TOO_MANY_HOLDS
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import PROPERTIES, ROOT, ROOT_PATH, Desk, Program, Refused

EFFICIENCY = (ROOT, f"{ROOT_PATH}/Efficiency", f"{ROOT}.Efficiency")
"""By the one name that such a program may talk to."""


@pytest.fixture
def sandbox(private_bus: PrivateBus) -> Iterator[str]:
    """The address of the bus as a sandbox has it, with --talk-name=ie.fio.OllamaProxy."""
    socket = private_bus.folder / "sandbox"
    words = [private_bus.address, str(socket), "--filter", "--talk=ie.fio.OllamaProxy", "--fd=1"]
    with subprocess.Popen(["xdg-dbus-proxy", *words], stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdout.read(1), "it listens"
        yield f"unix:path={socket}"
        proxy.terminate()


async def test_a_sandboxed_program_reads_and_switches_and_hears_of_it(sandbox: str, program: Program) -> None:
    inside = await Program.start(sandbox)
    assert await inside.ask((ROOT, ROOT_PATH, PROPERTIES), "Get", "ss", ROOT, "Version")
    assert await inside.get("Efficiency", "CurrentMode") == "Balanced"
    await inside.ask(EFFICIENCY, "SetMode", "s", "Quiet")
    assert ("ModeChanged", "Balanced", "Quiet") in await inside.heard_named()
    assert await program.get("Efficiency", "CurrentMode") == "Quiet"
    await inside.stop()


async def test_a_sandboxed_program_does_not_exhaust_the_holds_by_many_connections(
    sandbox: str, program: Program, desk: Desk
) -> None:
    async with AsyncExitStack() as ends:
        refusals = list[str]()
        for _ in range(10):
            inside = await Program.start(sandbox)
            ends.push_async_callback(inside.stop)
            try:
                cookie = await inside.ask(EFFICIENCY, "HoldMode", "sss", "Quiet", "", "org.example.Inside")
                await inside.ask(EFFICIENCY, "ReleaseMode", "u", cookie)
                await inside.ask(EFFICIENCY, "HoldMode", "sss", "Quiet", "", "org.example.Inside")
            except Refused as refused:
                refusals.append(refused.name)
        assert refusals == [TOO_MANY_HOLDS] * (10 - MOST_OF_ONE)
        assert len(desk.services.governor.holds.value) == MOST_OF_ONE
        assert await program.call("Efficiency", "HoldMode", "sss", "UltraEfficiency", "", "")
