"""A daemon's D-Bus face in front of fake backends on a private bus, and a program that talks to it."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.unpack import unpack_variants

from ollama_proxyd.core.events import Event
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, Unavailable
from ollama_proxyd.core.requests import Api, Hints, Operation, Request
from ollama_proxyd.edges.dbus_api.service import NAMES, BusService
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ports import StateStore
from tests.fakes import FakeBackend, SteppedClock, reload, services_of

ROOT = "ie.fio.OllamaProxy"
ROOT_PATH = "/ie/fio/OllamaProxy"
PROPERTIES = "org.freedesktop.DBus.Properties"
DAEMON_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
DEADLINE_S = 20
ENDPOINT = "http://127.0.0.1:18080"
GRPC_ENDPOINT = "127.0.0.1:18081"


class Refused(Exception):
    """An error that came back over the bus."""

    def __init__(self, reply: Message) -> None:
        super().__init__(f"{reply.error_name}: {reply.body[0]}")
        self.name = str(reply.error_name)
        self.text = str(reply.body[0])


class Program:
    """A program on the bus that calls the daemon and writes down every signal of it."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.signals: list[tuple[str, str, list[Any]]] = []

    @classmethod
    async def start(cls, address: str) -> "Program":
        program = cls(await MessageBus(bus_address=address).connect())
        program.bus.add_message_handler(program._note)
        await program.ask(DAEMON_BUS, "AddMatch", "s", f"type='signal',path_namespace='{ROOT_PATH}'")
        return program

    def _note(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.path.startswith(ROOT_PATH):
            where = message.path.removeprefix(ROOT_PATH).removeprefix("/")
            self.signals.append((where, message.member, unpack_variants(message.body)))

    async def ask(self, target: tuple[str, str, str], member: str, signature: str = "", *body: Any) -> Any:
        """The reply's values as they came: one alone, else a list."""
        name, path, interface = target
        question = Message(name, path, interface, member, signature=signature, body=list(body))
        async with asyncio.timeout(DEADLINE_S):
            reply = await self.bus.call(question)
        if reply.message_type is MessageType.ERROR:
            raise Refused(reply)
        self.reply_signature = reply.signature
        return reply.body[0] if len(reply.body) == 1 else reply.body

    async def call(self, where: str, member: str, signature: str = "", *body: Any) -> Any:
        """Call a method of the object of that name, as scripts do: bus name, object and interface are called alike."""
        name = f"{ROOT}.{where}"
        answer = await self.ask((name, f"{ROOT_PATH}/{where}", name), member, signature, *body)
        return unpack_variants(answer)

    async def get(self, where: str, name: str) -> Any:
        return (await self.get_all(where))[name]

    async def get_all(self, where: str) -> dict[str, Any]:
        target = (ROOT, f"{ROOT_PATH}/{where}", PROPERTIES)
        values: dict[str, Any] = unpack_variants(await self.ask(target, "GetAll", "s", interface_of(where)))
        return values

    async def set(self, where: str, name: str, value: Variant) -> None:
        await self.ask((ROOT, f"{ROOT_PATH}/{where}", PROPERTIES), "Set", "ssv", interface_of(where), name, value)

    async def introspect(self, path: str) -> ET.Element:
        return ET.fromstring(await self.ask((ROOT, path, "org.freedesktop.DBus.Introspectable"), "Introspect"))

    async def settle(self) -> None:
        """Wait until everything that the daemon had to tell has arrived."""
        for _ in range(10):
            await asyncio.sleep(0)
        await self.ask((ROOT, f"{ROOT_PATH}/Efficiency", "org.freedesktop.DBus.Peer"), "Ping")

    async def heard(self) -> list[tuple[str, str, list[Any]]]:
        """The signals since this was asked last."""
        await self.settle()
        news, self.signals = self.signals, []
        return news

    async def heard_named(self) -> list[tuple[Any, ...]]:
        """Those that are not PropertiesChanged: member and arguments."""
        return [(member, *body) for _, member, body in await self.heard() if member != "PropertiesChanged"]

    async def heard_changes(self, where: str) -> list[dict[str, Any]]:
        """What each PropertiesChanged of one object said."""
        return [body[1] for path, member, body in await self.heard() if (path, member) == (where, "PropertiesChanged")]

    async def stop(self) -> None:
        if self.bus.connected:
            self.bus.disconnect()
            await self.bus.wait_for_disconnect()


def interface_of(where: str) -> str:
    return f"{ROOT}.Backend" if where.startswith("Backends/") else f"{ROOT}.{where}".rstrip(".")


class Desk:
    """The service, what it shows, and the line to the bus."""

    def __init__(self, services: Services, address: str, clock: SteppedClock) -> None:
        self.clock = clock
        self.services = services
        self.line = BusLine(address, clock)
        self.service = BusService(self.services, self.line, clock, ENDPOINT, GRPC_ENDPOINT)

    @classmethod
    async def start(
        cls,
        address: str,
        *backends: FakeBackend,
        store: StateStore | None = None,
        around: Callable[[Services], Services] = lambda services: services,
    ) -> "Desk":
        clock = SteppedClock()
        desk = cls(around(await services_of(*backends, store=store, clock=clock)), address, clock)
        await desk.service.start()
        return desk

    async def stop(self) -> None:
        await self.service.stop()
        await self.line.close()

    def sense(self, **readings: Any) -> None:
        """The sensors say something new."""
        said = {name: self._reading(value) for name, value in readings.items()}
        system = self.services.system
        system.set(replace(system.value, **said))

    def sense_device(self, device: DeviceState, **readings: Any) -> None:
        """A device's sensors say something new."""
        said = {name: self._reading(value) for name, value in readings.items()}
        system = self.services.system
        others = tuple(each for each in system.value.devices if each.id != device.id)
        system.set(replace(system.value, devices=(*others, replace(device, **said))))

    def _reading(self, value: Any) -> Any:
        return value if isinstance(value, Unavailable | PowerState) else Reading(value, self.clock.monotonic())

    async def reload(self, *backends: FakeBackend) -> None:
        """A reload of the configuration has brought these backends."""
        await reload(self.services, *backends)

    async def request(self, model: str = "tiny", **hints: Any) -> list[Event]:
        """A client's request, answered."""
        request = Request(
            operation=Operation.CHAT,
            api=Api.OLLAMA,
            endpoint="chat",
            model=model,
            stream=True,
            body=b"{}",
            content=lambda: None,  # type: ignore[return-value]
            hints=Hints(**hints),
        )
        return [event async for event in self.services.gateway.answer(request)]


async def until_named(program: Program) -> None:
    """Wait until the daemon owns its names."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await program.ask(DAEMON_BUS, "GetNameOwner", "s", NAMES[-1])
            except Refused:
                await asyncio.sleep(0.005)
            else:
                return


def paused(backend: FakeBackend) -> asyncio.Event:
    """Have the rest of a backend's answer, after its first words, wait until the test lets it come."""
    go_on = asyncio.Event()
    accepted, first, *rest = backend.script
    backend.script = (accepted, first, go_on, *rest)
    return go_on
