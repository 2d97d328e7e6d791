"""What follows another program's properties is never behind, never fooled, and says why where it knows nothing."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.plumbing.dbus import BusError, connect
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning, Properties, Remote, Service, follow
from tests.desktop.fake_objects import PROPERTIES, FakeObjects
from tests.desktop.private_bus import PrivateBus, StartBus
from tests.reasons import why

States: TypeAlias = AsyncGenerator[tuple[Properties | Unavailable, ...], None]

LAMP = Service("org.example.Lamp", "Lamp", package="lamp", unit="lampd")
LAMP_REMOTE = Remote(LAMP, "/lamp", "org.example.Lamp")
LAMP_INTERFACE = (LAMP_REMOTE.path, LAMP_REMOTE.interface)
OLD_REMOTE = Remote(Service("org.example.OldLamp", "Lamp", package="lamp"), "/old", "org.example.OldLamp")
OLD_INTERFACE = (OLD_REMOTE.path, OLD_REMOTE.interface)
LEFT = NotRunning(Reason("service_left", service="Lamp", unit="lampd"), is_installed=True)
NOT_INSTALLED = NotRunning(Reason("service_not_installed", service="Lamp", package="lamp"), is_installed=False)


def lamp(**more: Variant) -> FakeObjects:
    return FakeObjects({LAMP_INTERFACE: {"On": Variant("b", True), "Level": Variant("d", 0.5), **more}})


@asynccontextmanager
async def following(bus: PrivateBus, *remotes: Remote, retry_s: float = 30.0) -> AsyncIterator[States]:
    connection = await connect(bus.address)
    async with aclosing(follow(connection, remotes or (LAMP_REMOTE,), retry_s)) as states:
        yield states
    await connection.close()


async def following_state(states: States) -> Properties | Unavailable:
    async with asyncio.timeout(20):
        return (await anext(states))[0]


async def test_the_first_word_is_what_the_properties_are_now(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        assert await following_state(states) == {"On": True, "Level": 0.5}
    await service.stop()


async def test_a_change_is_told_without_asking_again(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        await following_state(states)
        service.change(LAMP_INTERFACE, Level=Variant("d", 0.25))
        assert await following_state(states) == {"On": True, "Level": 0.25}
    assert service.questions == [("/lamp", "GetAll")]
    await service.stop()


async def test_a_signal_that_changes_nothing_is_not_told(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    connection = await connect(private_bus.address)
    async with aclosing(follow(connection, (LAMP_REMOTE,))) as states:
        await following_state(states)
        waiting = asyncio.create_task(following_state(states))
        service.change(LAMP_INTERFACE, Level=Variant("d", 0.5))
        await settled(service.bus)
        await settled(connection.connection)
        await asyncio.sleep(0)
        assert not waiting.done()
        service.change(LAMP_INTERFACE, On=Variant("b", False))
        assert await waiting == {"On": False, "Level": 0.5}
    await connection.close()
    await service.stop()


async def test_a_property_that_is_only_called_changed_is_asked_for(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        await following_state(states)
        service.hide(LAMP_INTERFACE, Level=Variant("d", 0.75))
        assert await following_state(states) == {"On": True, "Level": 0.75}
    assert len(service.questions) == 2
    await service.stop()


async def test_a_change_that_is_told_right_after_the_answer_is_not_lost(private_bus: PrivateBus) -> None:
    """Answer and signal then come in one read; the signal is handled before whoever asked has the answer."""
    service = await lamp().start(private_bus.address, LAMP.name)

    def change_at_once() -> None:
        service.afterword = None
        service.change(LAMP_INTERFACE, Level=Variant("d", 1.0))
        time.sleep(0.02)  # nothing is read here until the bus has passed on both

    service.afterword = change_at_once
    async with following(private_bus) as states:
        assert await following_state(states) == {"On": True, "Level": 1.0}
    await service.stop()


async def test_an_owner_that_comes_while_the_bus_is_asked_for_it_is_not_forgotten(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await lamp().start(private_bus.address)
    connection = await connect(private_bus.address)
    at_once = connection.owner_of

    async def late(name: str) -> str | None:
        owner = await at_once(name)
        await service.bus.request_name(name)
        await settled(connection.connection)
        return owner

    monkeypatch.setattr(connection, "owner_of", late)
    async with aclosing(follow(connection, (LAMP_REMOTE,))) as states:
        assert await following_state(states) == {"On": True, "Level": 0.5}
    await connection.close()
    await service.stop()


async def test_another_interface_of_the_same_object_is_not_listened_to(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    service.objects["/lamp", "org.example.Other"] = {}
    async with following(private_bus) as states:
        await following_state(states)
        service.change(("/lamp", "org.example.Other"), Level=Variant("d", 9.0))
        service.change(LAMP_INTERFACE, On=Variant("b", False))
        assert await following_state(states) == {"On": False, "Level": 0.5}
    await service.stop()


async def test_a_stranger_cannot_speak_for_the_service(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    stranger = await lamp().start(private_bus.address, "org.example.Stranger")
    async with following(private_bus) as states:
        await following_state(states)
        stranger.change(LAMP_INTERFACE, Level=Variant("d", 9.0))
        await settled(stranger.bus)
        service.change(LAMP_INTERFACE, On=Variant("b", False))
        assert await following_state(states) == {"On": False, "Level": 0.5}
    await service.stop()
    await stranger.stop()


async def settled(bus: MessageBus) -> None:
    """Wait until the bus has passed on what was sent before."""
    await bus.call(
        Message("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Peer", "Ping", serial=0)
    )


async def test_a_service_that_owns_two_names_is_not_heard_twice(private_bus: PrivateBus) -> None:
    both = FakeObjects({LAMP_INTERFACE: {"On": Variant("b", True)}, OLD_INTERFACE: {"On": Variant("b", True)}})
    await both.start(private_bus.address, LAMP.name, OLD_REMOTE.service.name)
    async with following(private_bus, LAMP_REMOTE, OLD_REMOTE) as states:
        assert await anext(states) == ({"On": True}, {"On": True})
        both.change(LAMP_INTERFACE, On=Variant("b", False))
        assert await anext(states) == ({"On": False}, {"On": True})
        both.change(OLD_INTERFACE, On=Variant("b", False))
        assert await anext(states) == ({"On": False}, {"On": False})
    await both.stop()


async def test_a_service_may_come_and_go_and_come_again(private_bus: PrivateBus) -> None:
    async with following(private_bus) as states:
        assert await following_state(states) == NOT_INSTALLED
        first = await lamp().start(private_bus.address, LAMP.name)
        assert await following_state(states) == {"On": True, "Level": 0.5}
        await first.stop()
        assert await following_state(states) == LEFT
        second = await lamp(Level=Variant("d", 0.1)).start(private_bus.address, LAMP.name)
        assert await following_state(states) == {"On": True, "Level": 0.1}
        await second.stop()


async def test_another_owner_of_the_name_is_asked_anew(private_bus: PrivateBus) -> None:
    first = await lamp().start(private_bus.address, LAMP.name)
    second = await lamp(Level=Variant("d", 0.1)).start(private_bus.address)
    await second.bus.request_name(LAMP.name)  # queues behind the first
    async with following(private_bus) as states:
        assert await following_state(states) == {"On": True, "Level": 0.5}
        await first.stop()
        assert await following_state(states) == {"On": True, "Level": 0.1}
    await second.stop()


async def test_an_installed_service_that_does_not_run_says_how_to_start_it(bus_with: StartBus) -> None:
    async with following(bus_with({LAMP.name: "/bin/false"})) as states:
        assert why(await following_state(states)) == "Lamp is not running; start it: systemctl start lampd"


@pytest.mark.parametrize("starts", [False, True])
async def test_a_service_is_started_only_where_that_is_harmless(
    bus_with: StartBus, tmp_path: Path, starts: bool
) -> None:
    mark = tmp_path / "started"
    bus = bus_with({LAMP.name: f"/bin/sh -c 'touch {mark}; exit 1'"})
    remote = Remote(Service(LAMP.name, "Lamp", "lamp", starts=starts), "/lamp", "org.example.Lamp")
    async with following(bus, remote) as states:
        assert isinstance(await following_state(states), NotRunning)
    assert mark.exists() == starts


async def test_a_service_without_the_object_says_so(private_bus: PrivateBus) -> None:
    service = await FakeObjects({}).start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        assert why(await following_state(states)) == "Lamp does not answer: no such object"
    await service.stop()


async def test_an_object_that_did_not_answer_is_asked_again_after_a_while(private_bus: PrivateBus) -> None:
    service = await FakeObjects({}).start(private_bus.address, LAMP.name)
    async with following(private_bus, retry_s=0.01) as states:
        assert isinstance(await following_state(states), Unavailable)
        service.objects[LAMP_INTERFACE] = {"On": Variant("b", True)}
        assert await following_state(states) == {"On": True}
    await service.stop()


async def test_an_object_that_did_not_answer_is_asked_again_when_it_speaks(private_bus: PrivateBus) -> None:
    service = await FakeObjects({}).start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        assert isinstance(await following_state(states), Unavailable)
        service.objects[LAMP_INTERFACE] = {"On": Variant("b", True)}
        service.change(LAMP_INTERFACE, Level=Variant("d", 0.5))
        assert await following_state(states) == {"On": True, "Level": 0.5}
    await service.stop()


async def test_the_end_of_the_connection_ends_the_following(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    async with following(private_bus) as states:
        await following_state(states)
        private_bus.stop()
        with pytest.raises(BusError, match="has ended"):
            await following_state(states)
    await service.stop()


async def test_nothing_is_heard_any_more_once_the_following_ended(private_bus: PrivateBus) -> None:
    service = await lamp().start(private_bus.address, LAMP.name)
    watched = await connect(private_bus.address)
    async with aclosing(follow(watched, (LAMP_REMOTE,))) as states:
        await anext(states)
    await settled(watched.connection)  # the bus has taken note
    heard: list[Message] = []
    watched.connection.add_message_handler(heard.append)
    service.change(LAMP_INTERFACE, Level=Variant("d", 0.25))
    await settled(service.bus)
    await settled(watched.connection)
    assert [message.member for message in heard if message.interface == PROPERTIES] == []
    await watched.close()
    await service.stop()
