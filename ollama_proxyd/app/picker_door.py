"""The endpoint picker, where the daemon runs as one; nothing of it is imported elsewhere."""

import asyncio
from importlib import import_module
from typing import Any

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.backends.loads import EngineLoadReader
from ollama_proxyd.edges.backends.resolve import place_of
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.engine_loads import EngineLoads
from ollama_proxyd.services.picker import Picker
from ollama_proxyd.services.tasks import Tasks


class PickerDoor:
    """A picker for the life of the process."""

    def __init__(self, services: Services, http: HttpClient, config: Config) -> None:
        self._services = services
        self._config = Cell(config)
        self._loads = EngineLoads(
            services.fleet, EngineLoadReader(http), services.clock, lambda: self._config.value.picker.load_interval_s
        )
        self._picker = Picker(services, self._loads, place_of, lambda: self._config.value.picker.limits)
        self._tasks = Tasks("picker")
        self._server: Any = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def port(self) -> int | None:
        """Where it is served, None before it is."""
        return None if self._server is None else int(self._server.port)

    async def open(self, config: Config) -> None:
        """Begin to listen; raises ProxyError."""
        try:
            edge = import_module("ollama_proxyd.edges.picker_api.server")
        except ModuleNotFoundError as error:
            message = (
                f"the picker needs the Python package {error.name}, which is not installed; install ollama-proxyd[grpc]"
            )
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="grpc_missing") from error
        server = edge.PickerServer(self._picker, self._services.fleet, config.picker, self._body_limits)
        await server.start()
        self._server = server
        self._tasks.start("loads", self._loads.follow())

    def _body_limits(self) -> tuple[int, int]:
        server = self._config.value.server
        return server.max_body_bytes, server.max_bodies_bytes

    def reconfigure(self, config: Config) -> None:
        """Apply what may change while listening."""
        self._config.set(config)

    def refuse_new(self, within_s: float) -> None:
        """Take no further requests; those under way go on so long."""
        if self._server is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._server.stop(within_s), name="picker.stop")

    async def close(self) -> None:
        """Wait for the last request."""
        if self._stopping is not None:
            await self._stopping
        await self._tasks.close()
