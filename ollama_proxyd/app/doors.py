"""The doors beside HTTP: gRPC, paired machines, the picker where it runs as one, and what telemetry leaves by."""

from collections.abc import Mapping

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.app.grpc_door import GrpcDoor
from ollama_proxyd.app.house_door import HouseDoor
from ollama_proxyd.app.telemetry import Telemetry
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.http_api.server import HttpServer


class Doors:
    """All of them, for the life of the daemon."""

    def __init__(
        self,
        foundation: Foundation,
        server: HttpServer,
        config: Config,
        environ: Mapping[str, str],
        *,
        is_picker: bool,
    ) -> None:
        self.grpc = GrpcDoor(foundation.services, server.rules)
        self.house = HouseDoor(environ, server, foundation)
        self.telemetry = Telemetry(foundation.services)
        self.picker = None
        if is_picker:
            from ollama_proxyd.app.picker_door import PickerDoor  # noqa: PLC0415 - the daemon does without

            self.picker = PickerDoor(foundation.services, foundation.http, config)

    @property
    def is_open(self) -> bool:
        """Whether calls may come that would start no daemon."""
        return self.grpc.port is not None or self.house.is_open or self.picker is not None

    async def open(self, config: Config) -> None:
        """Begin to listen; raises ProxyError."""
        await self.grpc.open(config)
        await self.house.open()
        self.telemetry.reconfigure(config.telemetry)
        if self.picker is not None:
            await self.picker.open(config)

    def reconfigure(self, config: Config) -> None:
        """Apply what may change while listening."""
        self.grpc.reconfigure(config)
        self.house.reconfigure(config)
        self.telemetry.reconfigure(config.telemetry)
        if self.picker is not None:
            self.picker.reconfigure(config)

    def refuse_new(self, within_s: float) -> None:
        """Take no further calls; those under way go on so long."""
        self.grpc.refuse_new(within_s)
        if self.picker is not None:
            self.picker.refuse_new(within_s)

    async def close(self) -> None:
        """Wait for the last call."""
        await self.telemetry.close()
        await self.house.close()
        await self.grpc.close()
        if self.picker is not None:
            await self.picker.close()
