"""The gRPC server where a port for it is configured; nothing of it is imported elsewhere."""

import asyncio
import logging
from typing import Any

from ollama_proxyd.app.extras import part
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.grpc_api.settings import Door
from ollama_proxyd.edges.http_api.settings import client_url
from ollama_proxyd.edges.plumbing.access import AccessRules
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell

log = logging.getLogger(__name__)


class GrpcDoor:
    """A gRPC server or none, for the life of the daemon."""

    def __init__(self, services: Services, rules: Cell[AccessRules]) -> None:
        self._services = services
        self._rules = rules
        self._server: Any = None
        self._host = ""
        self._stopping: asyncio.Task[None] | None = None

    @property
    def port(self) -> int | None:
        """Where it is served, None where it is not."""
        return None if self._server is None else int(self._server.port)

    @property
    def endpoint(self) -> str | None:
        """What a client on this machine calls, such as 127.0.0.1:50051; None where there is no server."""
        return None if self.port is None else client_url(self._host, self.port).removeprefix("http://")

    async def open(self, config: Config) -> None:
        """Begin to listen where that is configured; raises ProxyError."""
        if config.grpc.port is None:
            return
        edge = part("ollama_proxyd.edges.grpc_api.server", "server.grpc_port", "grpc")
        server = edge.GrpcServer(self._services, config.grpc, self._rules, _door(config))
        await server.start()
        self._server, self._host = server, config.server.host
        log.info("gRPC listens on %s", self.endpoint)

    def reconfigure(self, config: Config) -> None:
        """Apply what may change while listening."""
        if self._server is not None:
            self._server.reconfigure(_door(config))

    def refuse_new(self, within_s: float) -> None:
        """Take no further calls; those under way go on so long."""
        if self._server is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._server.stop(within_s), name="grpc.stop")

    async def close(self) -> None:
        """Wait for the last call."""
        if self._stopping is not None:
            await self._stopping


def _door(config: Config) -> Door:
    server = config.server
    return Door(server.host, server.max_body_bytes, server.names_programs)
