"""The service over its life: names, losses of the bus, and calls that no program should make."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag, Variant
from dbus_fast.aio import MessageBus

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.dbus_api.names import Names
from ollama_proxyd.edges.dbus_api.service import NAMES
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import (
    DAEMON_BUS,
    DEADLINE_S,
    PROPERTIES,
    ROOT,
    ROOT_PATH,
    Desk,
    Program,
    Refused,
    until_named,
)
from tests.fakes import FakeBackend, SteppedClock

PATH = f"{ROOT_PATH}/Efficiency"
EFFICIENCY = (ROOT, PATH, f"{ROOT}.Efficiency")
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


def said_lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = (record.getMessage() for record in caplog.records)
    return [message for message in messages if "until there is a bus" in message]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if done():
                return
            await asyncio.sleep(0.001)


async def look_again(desk: Desk) -> None:
    """Turn the clock, and wait until the service has found no bus again; nothing else of a desk sleeps meanwhile."""
    (pause,) = desk.clock.sleepers
    desk.clock.advance(60)
    await until(lambda: desk.clock.sleepers not in ([], [pause]))


async def test_one_connection_owns_every_name(program: Program) -> None:
    owners = {await program.ask(DAEMON_BUS, "GetNameOwner", "s", name) for name in NAMES}
    assert len(NAMES) == 6
    assert len(owners) == 1


async def test_stopping_gives_the_names_back_and_keeps_the_connection(program: Program, desk: Desk) -> None:
    await desk.service.stop()
    for name in NAMES:
        with pytest.raises(Refused, match="NameHasNoOwner"):
            await program.ask(DAEMON_BUS, "GetNameOwner", "s", name)
    bus = await desk.line.bus()
    assert bus.is_connected
    with pytest.raises(Refused):
        await program.ask((bus.unique_name, PATH, f"{ROOT}.Efficiency"), "GetMode")


async def test_ending_while_the_names_are_being_taken_accuses_nobody(
    private_bus: PrivateBus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = BusLine(private_bus.address, SteppedClock())
    bus = await line.bus()
    asked, gate = asyncio.Event(), asyncio.Event()
    call = bus.call

    async def slow(target: Any, member: str, signature: str = "", body: Any = ()) -> Any:
        reply = await call(target, member, signature, body)
        if (member, body[:1]) == ("RequestName", [NAMES[-1]]):
            asked.set()
            await gate.wait()
        return reply

    monkeypatch.setattr(bus, "call", slow)
    names = Names(bus, NAMES)
    taking = asyncio.create_task(names.take())
    await asked.wait()
    await names.release()
    gate.set()
    await taking
    await line.close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


async def test_after_the_bus_was_lost_the_names_are_taken_again(
    program: Program, desk: Desk, private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    private_bus.stop()
    await until(lambda: len(said_lost(caplog)) == 1)
    for _ in range(3):
        await look_again(desk)
    private_bus.start()
    again = await Program.start(private_bus.address)
    desk.clock.advance(60)
    await until_named(again)
    desk.services.governor.select(Mode.QUIET)
    assert [each[0] for each in await again.heard_named()] == ["ModeChanged", "EffectiveModeChanged"]
    assert len(said_lost(caplog)) == 1
    private_bus.stop()
    await until(lambda: len(said_lost(caplog)) == 2)


async def test_without_a_bus_the_daemon_runs_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = await Desk.start("unix:path=/nonexistent/bus", FakeBackend("npu"))
    await until(lambda: len(said_lost(caplog)) == 1)
    for _ in range(5):
        await look_again(desk)
    assert await desk.request()
    desk.services.governor.select(Mode.QUIET)
    await asyncio.sleep(0)
    assert not desk.services.ledger.routed._listeners, "nothing is worked out for nobody"
    assert len(said_lost(caplog)) == 1
    await desk.stop()


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("ollama_proxyd.edges.dbus_api")]
    return [record.getMessage() for record in ours if record.levelno == level]


async def until_said(caplog: pytest.LogCaptureFixture, level: int) -> None:
    await until(lambda: bool(said(caplog, level)))


async def test_a_name_of_another_program_is_reported_and_taken_when_that_one_ends(
    private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    other = await MessageBus(bus_address=private_bus.address).connect()
    await other.request_name(f"{ROOT}.Efficiency")
    desk = await Desk.start(private_bus.address, FakeBackend("npu"))
    program = await Program.start(private_bus.address)
    await until_named(program)
    await until_said(caplog, logging.WARNING)
    (warning,) = said(caplog, logging.WARNING)
    assert f"the name {ROOT}.Efficiency" in warning
    assert str(other.unique_name) in warning
    assert await program.ask(EFFICIENCY, "GetMode") == "Balanced"
    other.disconnect()
    await other.wait_for_disconnect()
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                assert await program.call("Efficiency", "GetMode") == "Balanced"
                break
            except Refused:
                await asyncio.sleep(0.005)
    await program.stop()
    await desk.stop()


THIS_PROGRAM = Path("/proc/self/comm").read_text().strip()


async def test_a_second_daemon_says_once_who_has_its_names_and_takes_them_when_they_are_free(
    private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ollama_proxyd")
    other = await MessageBus(bus_address=private_bus.address).connect()
    for name in NAMES:
        await other.request_name(name)
    desk = await Desk.start(private_bus.address, FakeBackend("npu"))
    await until_said(caplog, logging.WARNING)
    (warning,) = said(caplog, logging.WARNING)
    assert warning.startswith(
        f"the name {ROOT} and 5 more on the bus at {private_bus.address} belong to another program"
    )
    assert str(other.unique_name) in warning
    assert f"pid {os.getpid()}" in warning
    assert THIS_PROGRAM in warning
    assert "end it, and this daemon takes them" in warning
    assert said(caplog, logging.INFO) == [], "it is not on the bus yet"
    other.disconnect()
    await other.wait_for_disconnect()
    await until_said(caplog, logging.INFO)
    assert said(caplog, logging.INFO) == [f"on the bus at {private_bus.address} as {ROOT}"]
    assert len(said(caplog, logging.WARNING)) == 1
    program = await Program.start(private_bus.address)
    assert await program.call("Efficiency", "GetMode") == "Balanced"
    await program.stop()
    await desk.stop()


async def test_a_bus_that_lets_us_own_nothing_says_so_once(
    private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ollama_proxyd")
    config = private_bus.folder / "bus.conf"
    config.write_text(config.read_text().replace('<allow own="*"/>', '<deny own="*"/>'))
    private_bus.stop()
    private_bus.start()
    desk = await Desk.start(private_bus.address, FakeBackend("npu"))
    await until_said(caplog, logging.WARNING)
    program = await Program.start(private_bus.address)
    await program.stop()
    (warning,) = said(caplog, logging.WARNING)
    assert f"does not let us own the name {ROOT} and 5 more" in warning
    assert said(caplog, logging.INFO) == []
    await desk.stop()


@pytest.mark.parametrize(
    ("target", "call", "error", "says"),
    [
        (EFFICIENCY, ("SetMode", "i", 1), "InvalidArgs", r"\(s\), not \(i\)"),
        (EFFICIENCY, ("SetMode",), "InvalidArgs", r"\(s\), not \(\)"),
        (EFFICIENCY, ("SetMood", "s", "Quiet"), "UnknownMethod", "SetMode"),
        ((ROOT, f"{ROOT_PATH}/Nothing", f"{ROOT}.Efficiency"), ("GetMode",), "UnknownObject", ROOT_PATH),
        ((ROOT, "/", f"{ROOT}.Efficiency"), ("GetMode",), "UnknownObject", ROOT_PATH),
        ((ROOT, PATH, "org.example.X"), ("GetMode",), "UnknownInterface", "org.example.X"),
        ((ROOT, PATH, OBJECT_MANAGER), ("GetManagedObjects",), "UnknownInterface", "ObjectManager"),
        ((ROOT, PATH, PROPERTIES), ("Get", "ss", "org.example.X", "Y"), "UnknownInterface", "org.example.X"),
        ((ROOT, PATH, PROPERTIES), ("Get", "ss", "", "Mood"), "UnknownProperty", "CurrentMode"),
        ((ROOT, PATH, PROPERTIES), ("Get", "s", "Mood"), "InvalidArgs", "ss"),
        ((ROOT, PATH, PROPERTIES), ("Set", "ssv", "", "CurrentMode", Variant("i", 1)), "InvalidArgs", "type s, not i"),
        ((ROOT, PATH, PROPERTIES), ("Set", "ssv", "", "Reason", Variant("s", "")), "PropertyReadOnly", "Reason"),
        ((ROOT, "/nowhere", "org.freedesktop.DBus.Introspectable"), ("Introspect",), "UnknownObject", ROOT_PATH),
    ],
)
async def test_a_wrong_call_is_refused_by_the_standard_name_and_hurts_nothing(
    program: Program,
    target: tuple[str, str, str],
    call: tuple[Any, ...],
    error: str,
    says: str,
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        await program.ask(target, *call)
    assert refused.value.name == f"org.freedesktop.DBus.Error.{error}"
    assert await program.call("Efficiency", "GetMode") == "Balanced"


async def test_a_call_that_names_no_interface_finds_the_objects_own(program: Program) -> None:
    reply = await program.bus.call(Message(ROOT, f"{ROOT_PATH}/Efficiency", member="GetMode"))
    assert reply.body == ["Balanced"]


async def test_who_wants_no_reply_gets_none(program: Program, desk: Desk) -> None:
    replies: list[Message] = []
    program.bus.add_message_handler(lambda message: replies.append(message) if message.reply_serial else None)
    for mode in ("Quiet", "Turbo"):
        message = Message(*EFFICIENCY, "SetMode", flags=MessageFlag.NO_REPLY_EXPECTED, signature="s", body=[mode])
        await program.bus.send(message)
    await program.settle()
    assert [each.body for each in replies] == [[]]  # the answer to the ping of `settle`
    assert desk.services.governor.setting.value.chosen is Mode.QUIET


async def test_texts_that_the_bus_does_not_take_are_made_fit(program: Program, desk: Desk) -> None:
    await desk.reload(
        FakeBackend("npu", models=(Model("evil\0name"), Model("half \ud800 surrogate\x9b\u202e!"), Model("naïve 🦙")))
    )
    await program.settle()
    expected = ["evil\ufffdname", "half ? surrogate  !", "naïve 🦙"]
    assert await program.get("Backends/npu", "Models") == expected
    assert await program.call("Backends", "GetSupportedModels", "s", "npu") == expected
    assert await program.call("Efficiency", "GetMode") == "Balanced"


async def test_everybody_on_the_bus_hears_the_same(program: Program, private_bus: PrivateBus) -> None:
    others = [await Program.start(private_bus.address) for _ in range(3)]
    await program.call("Efficiency", "SetMode", "s", "Performance")
    told = await program.heard()
    assert len(told) == 3
    for other in others:
        assert await other.heard() == told
        await other.stop()
