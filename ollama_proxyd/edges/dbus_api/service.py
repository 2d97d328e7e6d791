"""The daemon on the session bus: takes its names, keeps its objects current, and comes back when the bus does."""

import logging
from typing import TypeAlias

from ollama_proxyd import __version__
from ollama_proxyd.edges.dbus_api.backends import Backends
from ollama_proxyd.edges.dbus_api.contract import ROOT_NAME, ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.efficiency import Efficiency
from ollama_proxyd.edges.dbus_api.exported import Exported, SignalSender
from ollama_proxyd.edges.dbus_api.holders import Holders
from ollama_proxyd.edges.dbus_api.names import Names
from ollama_proxyd.edges.dbus_api.objects import Objects
from ollama_proxyd.edges.dbus_api.routing import Routing
from ollama_proxyd.edges.dbus_api.system_state import SystemStateObject
from ollama_proxyd.edges.dbus_api.thermal import Thermal
from ollama_proxyd.edges.plumbing.dbus import Bus
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

NAMES = tuple(ROOT_NAME + suffix for suffix in ("", ".Efficiency", ".Backends", ".Routing", ".Thermal", ".SystemState"))
"""One connection owns them all; the object paths say which is meant."""
LAST_ANSWERS_S = 1.0
"""How long answers that take a while may take once the daemon leaves."""


def _root(sender: SignalSender) -> Exported:
    """The object of the daemon itself, above all others."""
    return Exported(path=ROOT_PATH, contract=contract(""), sender=sender, values=lambda: {"Version": __version__})


View: TypeAlias = Efficiency | Backends | Routing | Thermal | SystemStateObject


class BusService:
    """The D-Bus face of the daemon, from `start` to `stop`; without a bus it waits for one and nothing else suffers.

    line: the shared connection to the session bus; its maker closes it. endpoint: the URL at which clients find the
    daemon. grpc_endpoint: what clients of gRPC call, "" where it is not served. `start` returns at once: it neither
    waits for the bus nor fails without one.
    """

    def __init__(self, services: Services, line: BusLine, clock: Clock, endpoint: str, grpc_endpoint: str = "") -> None:
        self._services, self._line, self._clock = services, line, clock
        self._endpoints = endpoint, grpc_endpoint
        self._tasks = Tasks("dbus")
        self._answers = Tasks("dbus-answers")
        self._names: Names | None = None
        self.trouble: Cell[str | None] = Cell(None)
        """Why it is not on the bus as it should be, "" when it is, None until that is known."""
        self._said_lost = False

    async def start(self) -> None:
        """Begin to look for the bus."""
        self._tasks.start("bus", self._line.keep(self._serve, self._say_lost))

    async def stop(self) -> None:
        """Give the names back; the connection is left to its owner."""
        await self.withdraw()
        await self._answers.finish(LAST_ANSWERS_S)
        await self._tasks.close()

    async def withdraw(self) -> None:
        """Give the names back and answer what has come for them; who asks from now on may have another one started."""
        if self._names is not None:
            await self._names.release()

    async def come_back(self) -> None:
        """Take the names again."""
        if self._names is not None:
            await self._names.take()

    async def _serve(self, bus: Bus) -> None:
        """Be on the bus until it is lost; the objects exist only meanwhile, so that they cost nothing without one."""
        sender = SignalSender(bus)
        objects = Objects(sender, self._answers)
        views = self._views(sender, objects, bus)
        for view in views:
            objects.add(view.exported)
        objects.add(_root(sender))  # the last, so that the begin tells no news
        bus.connection.add_message_handler(objects.handle)
        self._names = names = Names(bus, NAMES, self.trouble.set)
        try:
            async with Tasks("dbus") as following:
                for view in views:
                    following.start(type(view).__name__, view.follow())
                following.start("holders", Holders(self._services.governor, bus, following).follow())
                await names.take()
                self._said_lost = False
                await bus.disconnected()
        finally:
            self._names = None
            names.leave()
            bus.connection.remove_message_handler(objects.handle)
        raise bus.lost()

    def _views(self, sender: SignalSender, objects: Objects, bus: Bus) -> tuple[View, ...]:
        services, clock = self._services, self._clock
        return (
            Efficiency(services, sender, bus),
            Backends(services, sender, objects, clock),
            Routing(services, sender, clock, self._endpoints),
            Thermal(services, sender, clock),
            SystemStateObject(services, sender),
        )

    def _say_lost(self, reason: str) -> None:
        """Once for each loss."""
        if not self._said_lost:
            log.warning("no D-Bus service until there is a bus: %s", reason)
        self._said_lost = True
        self.trouble.set(reason)
