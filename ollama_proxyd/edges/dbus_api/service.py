"""The daemon on the session bus: takes its names, keeps its objects current, and comes back when the bus does."""

import logging
from contextlib import suppress

from dbus_fast import NameFlag, RequestNameReply

from ollama_proxyd.edges.dbus_api.backends import Backends
from ollama_proxyd.edges.dbus_api.contract import ROOT_NAME
from ollama_proxyd.edges.dbus_api.efficiency import Efficiency
from ollama_proxyd.edges.dbus_api.holders import Holders
from ollama_proxyd.edges.dbus_api.objects import Objects
from ollama_proxyd.edges.dbus_api.outlet import Outlet
from ollama_proxyd.edges.dbus_api.routing import Routing
from ollama_proxyd.edges.dbus_api.system_state import SystemStateObject
from ollama_proxyd.edges.dbus_api.thermal import Thermal
from ollama_proxyd.edges.plumbing.dbus import BUS, Bus, BusError, CallError
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

NAMES = tuple(ROOT_NAME + suffix for suffix in ("", ".Efficiency", ".Backends", ".Routing", ".Thermal", ".SystemState"))
"""One connection owns them all; the object paths say which is meant."""

_OURS = frozenset({RequestNameReply.PRIMARY_OWNER.value, RequestNameReply.ALREADY_OWNER.value})


class BusService:
    """The D-Bus face of the daemon, from `start` to `stop`; without a bus it waits for one and nothing else suffers.

    services: the cell that a reload replaces; of a new bundle only fleet and gateway may be other ones than before.
    line: the way to the session bus, shared with whoever else uses it; whoever made it closes it.
    `start` returns at once: it neither waits for the bus nor fails without one.
    """

    def __init__(self, services: Cell[Services], line: BusLine, clock: Clock) -> None:
        self._governor = services.value.governor
        self._line = line
        self._tasks = Tasks("dbus")
        self._outlet = Outlet()
        self._objects = Objects(self._outlet, self._tasks)
        self._views = (
            Efficiency(services, self._outlet),
            Backends(services, self._outlet, self._objects, clock),
            Routing(services, self._outlet, clock),
            Thermal(services, self._outlet, clock),
            SystemStateObject(services, self._outlet),
        )
        for view in self._views:
            self._objects.add(view.exported)
        self._said_lost = False

    async def start(self) -> None:
        """Begin to look for the bus, and to follow what is told on it."""
        for view in self._views:
            self._tasks.start(type(view).__name__, view.follow())
        self._tasks.start("bus", self._line.keep(self._serve, self._say_lost))

    async def stop(self) -> None:
        """Give the names back; the connection is left to its owner."""
        bus = self._outlet.bus
        await self._tasks.close()
        if bus is not None and bus.is_connected:
            with suppress(OSError):  # the bus takes them back by itself when the connection ends
                for name in reversed(NAMES):
                    await bus.call(BUS, "ReleaseName", "s", [name])

    async def _serve(self, bus: Bus) -> None:
        """Be on the bus until it is lost."""
        bus.connection.add_message_handler(self._objects.handle)
        self._outlet.bus = bus
        try:
            async with Tasks("dbus") as watching:
                watching.start("holders", Holders(self._governor, bus, watching).follow())
                for name in NAMES:
                    await self._take(bus, name)
                log.info("on the %s as %s", bus.label, ROOT_NAME)
                self._said_lost = False
                await bus.disconnected()
        finally:
            self._outlet.bus = None
            bus.connection.remove_message_handler(self._objects.handle)
        raise bus.lost()

    async def _take(self, bus: Bus, name: str) -> None:
        """Own a name, or wait in the queue for it."""
        try:
            (reply,) = await bus.call(BUS, "RequestName", "su", [name, NameFlag.NONE.value])
            owner = None if reply in _OURS else await bus.owner_of(name)
        except CallError as error:
            log.warning("the %s does not let us own the name %s: %s", bus.label, name, error)
        except TimeoutError as error:
            raise BusError(str(error)) from None
        else:
            if owner is not None:
                log.warning(
                    "the name %s on the %s belongs to another program (%s) until that one ends; "
                    "everything but D-Bus works meanwhile",
                    name,
                    bus.label,
                    owner,
                )

    def _say_lost(self, reason: str) -> None:
        """Once for each loss."""
        if not self._said_lost:
            log.warning("no D-Bus service until there is a bus: %s", reason)
        self._said_lost = True
