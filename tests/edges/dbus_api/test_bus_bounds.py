"""Whatever a program sends: long arguments are refused before any work, storms are one piece of work."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag, Variant

from ollama_proxyd.core.fields import LONGEST_TEXT
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.edges.dbus_api.contract import contract
from ollama_proxyd.edges.dbus_api.standard import MOST_VALUES
from ollama_proxyd.edges.plumbing.dbus_writer import be_patient
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import PROPERTIES, ROOT, ROOT_PATH, Desk, Program, Refused, until_named
from tests.fakes import FakeBackend, MemoryStore

OBJECTS = ("Efficiency", "Backends", "Routing", "Thermal", "SystemState")
METHODS = [
    (where, name, method.in_signature)
    for where in OBJECTS
    for name, method in contract(where).methods.items()
    if "s" in method.in_signature or "v" in method.in_signature
]
LONG = "z" * 5_000_000
SHORT: dict[str, Any] = {"s": "", "u": 1, "as": [], "a{sv}": {}, "b": False, "i": 1, "d": 1.0}
MANY = 100 * MOST_VALUES
SIZES: dict[str, dict[str, Any]] = {
    "long": {"s": LONG, "as": [LONG], "a{sv}": {LONG: Variant("s", "")}},
    "long value": {"s": LONG, "as": [LONG], "a{sv}": {"model": Variant("s", LONG)}},
    "deep": {"s": LONG, "as": [LONG], "a{sv}": {"devices": Variant("a{sv}", {"npu": Variant("as", [LONG])})}},
    "many": {"s": LONG, "as": ["x"] * MANY, "a{sv}": {f"k{number}": Variant("s", "") for number in range(MANY)}},
}


def split(signature: str) -> list[str]:
    """The single types of a signature, as far as these methods have them."""
    types = []
    while signature:
        size = 5 if signature.startswith("a{sv}") else 2 if signature.startswith("a") else 1
        types.append(signature[:size])
        signature = signature[size:]
    return types


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("where", "member", "signature"), METHODS)
async def test_no_argument_of_any_method_is_worked_on_that_is_too_long(
    program: Program, where: str, member: str, signature: str, size: str
) -> None:
    types = split(signature)
    for at, kind in enumerate(types):
        if kind not in SIZES[size]:
            continue
        given = [SIZES[size][kind] if other == at else SHORT[each] for other, each in enumerate(types)]
        with pytest.raises(Refused, match=r"InvalidArgs: (an argument of|the arguments of) ") as refused:
            await program.call(where, member, signature, *given)
        assert len(refused.value.text) < LONGEST_TEXT


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body"),
    [
        (f"{ROOT_PATH}/Efficiency", PROPERTIES, "Get", "ss", ["", LONG]),
        (f"{ROOT_PATH}/Efficiency", PROPERTIES, "GetAll", "s", [LONG]),
        (f"{ROOT_PATH}/Efficiency", PROPERTIES, "Set", "ssv", ["", "CurrentMode", Variant("s", LONG)]),
        (f"{ROOT_PATH}/Efficiency", PROPERTIES, "Set", "ssv", ["", LONG, Variant("s", "")]),
        ("/" + "z" * 1_000_000, PROPERTIES, "GetAll", "s", [""]),
        ("/" + "z" * 1_000_000, "org.freedesktop.DBus.Introspectable", "Introspect", "", []),
    ],
)
async def test_no_call_of_the_standard_interfaces_is_echoed(
    program: Program, path: str, interface: str, member: str, signature: str, body: list[Any]
) -> None:
    with pytest.raises(Refused) as refused:
        await program.ask((ROOT, path, interface), member, signature, *body)
    assert len(refused.value.text) < 2 * LONGEST_TEXT


async def test_a_thousand_wishes_for_news_are_a_few_checks_and_a_healthy_backend_stays_up(
    program: Program, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member, *_) = desk.services.fleet.members.values()
    probe, asked, go_on = member.backend.probe, [], asyncio.Event()

    async def counted() -> Any:
        asked.append(member.id)
        await go_on.wait()
        return await probe()

    monkeypatch.setattr(member.backend, "probe", counted)
    be_patient(program.bus)
    name, path = f"{ROOT}.Backends", f"{ROOT_PATH}/Backends"
    for _ in range(1000):
        wish = Message(name, path, name, "RefreshBackendStatus", flags=MessageFlag.NO_REPLY_EXPECTED)
        await program.bus.send(wish)
    last = asyncio.ensure_future(program.call("Backends", "RefreshBackendStatus"))
    await program.settle()
    go_on.set()
    await last
    assert 1 <= len(asked) <= 2, "one that was under way, and one for all who came meanwhile"
    assert desk.services.fleet.view(member.id).health is Health.UP


class SlowStore(MemoryStore):
    """A store whose disk takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = asyncio.Event()

    async def written(self) -> None:
        await self.disk.wait()


CHANGES: dict[str, Callable[[Program], Any]] = {
    "SetMode": lambda program: program.call("Efficiency", "SetMode", "s", "Quiet"),
    "CurrentMode": lambda program: program.set("Efficiency", "CurrentMode", Variant("s", "Quiet")),
    "ChangeSettings": lambda program: program.call(
        "Efficiency", "ChangeSettings", "a{sv}", {"low_battery_percent": Variant("i", 45)}
    ),
    "ResetSettings": lambda program: program.call("Efficiency", "ResetSettings", "as", []),
    "Enabled": lambda program: program.set("Backends/npu", "Enabled", Variant("b", False)),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_an_answered_choice_is_on_disk(private_bus: PrivateBus, what: str) -> None:
    store = SlowStore()
    desk = await Desk.start(private_bus.address, FakeBackend("npu"), store=store)
    program = await Program.start(private_bus.address)
    try:
        await until_named(program)
        answer = asyncio.ensure_future(CHANGES[what](program))
        await program.settle()
        assert not answer.done()
        store.disk.set()
        await answer
    finally:
        await program.stop()
        await desk.stop()
