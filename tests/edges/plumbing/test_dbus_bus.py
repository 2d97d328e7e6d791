"""A connection to a bus: every call ends, every loss is noticed, and nothing is lost while the bus does not read."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

from ollama_proxyd.edges.plumbing.dbus import (
    BUS,
    MOST_WAITING,
    Bus,
    BusError,
    CallError,
    Match,
    Target,
    connect,
)
from tests.desktop.private_bus import PrivateBus, StartBus

SIGNALS = 5000
"""Several times what a socket's buffer holds."""

CHANGED = Match("org.example.Thing", "Changed", path="/thing")
SOMEBODY = Target("org.example.Nobody", "/", "org.example.Thing")


def changed(number: int, path: str = "/thing") -> Message:
    return Message.new_signal(path, CHANGED.interface, CHANGED.member, "sd", ["Percentage", float(number)])


async def reached(event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await event.wait()


async def test_signals_that_are_sent_while_the_bus_reads_nothing_arrive_once_it_reads_again(
    private_bus: PrivateBus,
) -> None:
    sender, receiver = await connect(private_bus.address), await connect(private_bus.address)
    heard: list[float] = []
    complete = asyncio.Event()

    def hear(message: Message) -> None:
        heard.append(message.body[1])
        if len(heard) == SIGNALS:
            complete.set()

    async with receiver.hear(CHANGED, hear):
        private_bus.pause()
        for number in range(SIGNALS):
            sender.send(changed(number))
        private_bus.resume()
        await reached(complete)
    assert heard == [float(number) for number in range(SIGNALS)]
    assert sender.is_connected
    await sender.close()
    await receiver.close()


async def test_a_bus_that_reads_nothing_for_very_long_is_given_up(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    private_bus.pause()

    def send_many() -> None:
        for number in range(2 * MOST_WAITING):
            bus.send(changed(number))

    with pytest.raises(BusError, match=f"has not read the last {MOST_WAITING} messages"):
        send_many()
    async with asyncio.timeout(20):
        await bus.disconnected()
    private_bus.resume()


async def test_the_library_alone_still_takes_a_full_buffer_for_the_end(private_bus: PrivateBus) -> None:
    """When this fails, dbus-fast has learned it, and edges/plumbing/dbus_writer.py can go."""
    plain = await MessageBus(bus_address=private_bus.address).connect()
    private_bus.pause()
    writes: list[asyncio.Future[None]] = []
    with suppress(OSError):  # it waits for the socket that it has just closed
        while plain.connected and len(writes) < SIGNALS:
            writes.append(plain.send(changed(len(writes))))
    private_bus.resume()
    assert not plain.connected
    assert len(writes) < SIGNALS
    with pytest.raises(BlockingIOError):
        await plain.wait_for_disconnect()
    for each in writes:  # else the collector tells of it in the middle of a later test
        if each.done():
            each.exception()


async def test_a_write_after_the_bus_has_gone_is_harmless_and_the_end_is_still_noticed(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    private_bus.stop()
    bus.send(changed(1))  # nothing has been read yet, so nobody knows
    async with asyncio.timeout(20):
        await bus.disconnected()
    assert not bus.is_connected


async def test_a_call_that_nobody_answers_ends_at_its_deadline(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    private_bus.pause()
    with pytest.raises(TimeoutError, match=r"org\.freedesktop\.DBus did not answer GetId within 0\.05 s"):
        await bus.call(BUS, "GetId", deadline_s=0.05)
    private_bus.resume()
    assert await bus.call(BUS, "GetId")
    await bus.close()


async def test_an_answer_that_is_an_error_says_its_name_and_its_words(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    with pytest.raises(CallError, match="ListNames") as caught:
        await bus.call(BUS, "ListNames", "s", ["too many"])
    assert caught.value.name.startswith("org.freedesktop.DBus.Error.")
    await bus.close()


@pytest.fixture
def activating_bus(bus_with: StartBus, tmp_path: Path) -> PrivateBus:
    """A bus that can start a service, which leaves a file behind and never comes up."""
    return bus_with({SOMEBODY.name: f"/bin/sh -c 'touch {tmp_path}/was-started; exit 1'"})


async def test_a_call_never_starts_a_service(activating_bus: PrivateBus, tmp_path: Path) -> None:
    bus = await connect(activating_bus.address)
    with pytest.raises(CallError) as caught:
        await bus.call(SOMEBODY, "Do")
    assert caught.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"
    with pytest.raises(CallError):  # the service starts and ends without taking its name
        await bus.start(SOMEBODY.name)
    assert (tmp_path / "was-started").exists()
    await bus.close()


async def test_whether_a_service_can_be_started_is_known_without_starting_it(
    activating_bus: PrivateBus, tmp_path: Path
) -> None:
    bus = await connect(activating_bus.address)
    assert await bus.can_start(SOMEBODY.name)
    assert not await bus.can_start("org.example.Other")
    with pytest.raises(CallError) as caught:
        await bus.start("org.example.Other")
    assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"
    assert not (tmp_path / "was-started").exists()
    await bus.close()


async def test_a_bus_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    address = f"unix:path={tmp_path}/no-bus"
    with pytest.raises(BusError, match=f"^the bus at {address} cannot be reached: No such file or directory$"):
        await connect(address)


@pytest.mark.parametrize("address", ["nonsense", "carrier-pigeon:loft=home", "unix:path=/dev/null"])
async def test_an_address_that_leads_nowhere_is_one_sentence(address: str) -> None:
    with pytest.raises(BusError, match=r"cannot be reached: \w"):
        await connect(address)


async def test_without_a_word_about_a_session_there_is_no_session_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(BusError, match="the session bus cannot be reached: neither DBUS_SESSION_BUS_ADDRESS nor"):
        await connect(BusType.SESSION)


async def test_the_session_bus_is_found_in_the_runtime_directory(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(private_bus.folder))
    bus = await connect(BusType.SESSION)
    assert bus.label == "session bus"
    assert bus.unique_name.startswith(":")
    await bus.close()


async def test_a_bus_that_accepts_and_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "bus"))
        silent.listen()
        with pytest.raises(BusError, match=r"did not accept a connection within 0\.05 s"):
            await connect(f"unix:path={tmp_path}/bus", deadline_s=0.05)


async def lost_bus(private_bus: PrivateBus) -> Bus:
    bus = await connect(private_bus.address)
    private_bus.stop()
    async with asyncio.timeout(20):
        await bus.disconnected()
    return bus


async def test_whoever_waits_for_the_end_of_the_connection_hears_of_it(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    ended, forgotten = asyncio.Event(), asyncio.Event()
    bus.at_end(ended.set)
    forget = bus.at_end(forgotten.set)
    forget()
    private_bus.stop()
    await reached(ended)
    assert not bus.is_connected
    assert not forgotten.is_set()
    assert str(bus.lost()).startswith(f"the connection to the bus at {private_bus.address} has ended")


async def test_a_call_under_way_fails_when_the_bus_goes_away(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    private_bus.pause()
    asking = asyncio.create_task(bus.call(BUS, "GetId"))
    await asyncio.sleep(0)
    private_bus.stop()
    with pytest.raises(BusError, match="has ended"):
        await asking


async def test_nothing_is_written_to_a_connection_that_has_ended(private_bus: PrivateBus) -> None:
    bus = await lost_bus(private_bus)
    with pytest.raises(BusError, match="has ended"):
        await bus.call(BUS, "GetId")
    with pytest.raises(BusError, match="has ended"):
        bus.send(changed(1))
    await bus.close()


async def test_closing_ends_the_calls_under_way(private_bus: PrivateBus) -> None:
    bus = await connect(private_bus.address)
    private_bus.pause()
    asking = asyncio.create_task(bus.call(BUS, "GetId"))
    await asyncio.sleep(0)
    await bus.close()
    with pytest.raises(BusError, match="has ended"):
        await asking
    private_bus.resume()


async def test_only_the_signals_that_match_are_heard_and_none_after_the_context(private_bus: PrivateBus) -> None:
    sender, receiver = await connect(private_bus.address), await connect(private_bus.address)
    heard: list[float] = []
    last = asyncio.Event()
    every_path = Match(CHANGED.interface, CHANGED.member)
    async with receiver.hear(every_path, lambda message: last.set() if message.path == "/last" else None):
        async with receiver.hear(CHANGED, lambda message: heard.append(message.body[1])):
            sender.send(changed(1))
            sender.send(changed(2, path="/other"))
            sender.send(changed(3))
            sender.send(changed(0, path="/last"))
            await reached(last)
        last.clear()
        sender.send(changed(4))  # comes all the same, because of the other match
        sender.send(changed(0, path="/last"))
        await reached(last)
    assert heard == [1.0, 3.0]
    await sender.close()
    await receiver.close()


async def test_a_match_on_the_first_argument_hears_no_other(private_bus: PrivateBus) -> None:
    bus, service = await connect(private_bus.address), await connect(private_bus.address)
    things: list[str | None] = []
    other = asyncio.Event()
    async with (
        bus.hear_owners("org.example.Thing", things.append),
        bus.hear_owners("org.example.Other", lambda owner: other.set()),
    ):
        await service.connection.request_name("org.example.Other")
        await reached(other)
    assert things == []
    await bus.close()
    await service.close()


async def test_the_owners_of_a_name_are_heard_of_as_they_come_and_go(private_bus: PrivateBus) -> None:
    bus, service = await connect(private_bus.address), await connect(private_bus.address)
    heard: list[str | None] = []
    gone = asyncio.Event()

    def hear(owner: str | None) -> None:
        heard.append(owner)
        if owner is None:
            gone.set()

    assert await bus.owner_of("org.example.Thing") is None
    async with bus.hear_owners("org.example.Thing", hear):
        await service.connection.request_name("org.example.Thing")
        assert await bus.owner_of("org.example.Thing") == service.unique_name
        await service.close()
        await reached(gone)
    assert heard == [service.unique_name, None]
    await bus.close()


async def test_who_owns_a_name_is_told_by_nobody_but_the_bus(private_bus: PrivateBus) -> None:
    bus, liar = await connect(private_bus.address), await connect(private_bus.address)
    heard: list[str | None] = []
    last = asyncio.Event()
    async with bus.hear_owners("org.example.Thing", heard.append), bus.hear(CHANGED, lambda message: last.set()):
        lie = ["org.example.Thing", "", liar.unique_name]
        message = Message.new_signal(BUS.path, BUS.interface, "NameOwnerChanged", "sss", lie)
        message.destination = bus.unique_name
        liar.send(message)
        liar.send(changed(0))
        await reached(last)
    assert heard == []
    await bus.close()
    await liar.close()
