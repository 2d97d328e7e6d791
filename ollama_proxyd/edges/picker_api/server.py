"""The picker's gRPC server, from the first listening to the last answer."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.certificate import Certificate
from ollama_proxyd.edges.picker_api.connection import Calls, Connection, Connections
from ollama_proxyd.edges.picker_api.exchange import Bodies
from ollama_proxyd.edges.picker_api.health import CHECK, WATCH, Health
from ollama_proxyd.edges.picker_api.processing import Processing
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.edges.plumbing.port_owner import port_owner
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.picker import Picker
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ExternalProcessor"].full_name
LIVENESS: Final = "liveness"
READY: Final = ("", "readiness", SERVICE)
"""The names of the endpoint picker protocol that tell whether a backend serves."""
_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
"""A gateway that is gone without a word frees its slots."""


class PickerServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self, picker: Picker, fleet: Fleet, settings: PickerSettings, body_limits: Callable[[], tuple[int, int]]
    ) -> None:
        self._bodies = Bodies(body_limits)
        self._fleet = fleet
        self._settings = settings
        self._health = Health((LIVENESS, *READY))
        self._tasks = Tasks("picker")
        self._connections: Connections = Cell(frozenset())
        self._health_calls: Calls = {CHECK: self._health.check, WATCH: self._health.watch}
        self._calls: Calls = {**self._health_calls, f"/{SERVICE}/Process": lambda _: Processing(picker, self._bodies)}
        self._listening: list[asyncio.Server] = []
        self.port = self.health_port = 0
        """The ports in use, once started."""

    @property
    def is_listening(self) -> bool:
        """Whether gateways may connect."""
        return bool(self._listening)

    @property
    def held_bytes(self) -> int:
        """How much of all bodies is held until their endpoints are chosen."""
        return self._bodies.held_bytes

    async def start(self) -> None:
        """Begin to listen; raises ProxyError with a sentence that says why it cannot."""
        chosen = self._settings
        certificate = Certificate(chosen.cert_path) if chosen.secure_serving else None
        self._health.set((LIVENESS,), is_serving=True)
        self.port = await self._listen("picker.port", chosen.port, self._calls, certificate)
        if chosen.health_port is not None:
            self.health_port = await self._listen("picker.health_port", chosen.health_port, self._health_calls, None)
        self._tasks.start("health", self._follow_health())
        log.info("the endpoint picker is served on port %d%s", self.port, " by TLS" if certificate else "")

    async def _listen(self, option: str, port: int, calls: Calls, certificate: Certificate | None) -> int:
        host, loop = self._settings.host, asyncio.get_running_loop()
        context = None if certificate is None else certificate.context
        try:
            server = await loop.create_server(
                lambda: Connection(calls, self._connections, self._tasks), host, port, ssl=context, backlog=1024
            )
        except OSError as error:
            owner = port_owner(port)
            who = f", taken by {owner}" if owner else ""
            message = f"cannot listen on {host} port {port} for the picker{who}; choose another with {option}"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="port_taken" if owner else "cannot_listen") from error
        self._listening.append(server)
        for each in server.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # what is accepted inherits it
            for name, value in _KEEPALIVE.items():
                each.setsockopt(socket.IPPROTO_TCP, name, value)
        return int(server.sockets[0].getsockname()[1])

    async def _follow_health(self) -> None:
        async for is_serving in self._fleet.is_serving.changes():
            self._health.set(READY, is_serving=is_serving)

    async def stop(self, within_s: float) -> None:
        """Say that no more is served, and take what comes until gateways can know it; then let what is under way end.

        What has not ended within the time is left to the gateway.
        """
        await self._tasks.close()
        self._health.set(READY, is_serving=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.notice_s):
                        await self._connections.until(_is_empty)
                self._refuse_new()
                await self._connections.until(_is_empty)
        self._refuse_new()
        for each in self._connections.value:
            each.abort()
        await self._connections.until(_is_empty)

    def _refuse_new(self) -> None:
        for each in self._listening:
            each.close()
        self._listening.clear()
        self._health.set((LIVENESS,), is_serving=False)
        self._health.close()
        for connection in self._connections.value:
            connection.drain()


def _is_empty(connections: frozenset[Connection]) -> bool:
    return not connections
