"""The collector that hears of attempts, where one is configured; nothing of it is imported elsewhere."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ollama_proxyd.app.extras import part
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.telemetry.settings import TelemetrySettings
from ollama_proxyd.services.bundle import Services

log = logging.getLogger(__name__)


class Telemetry:
    """An exporter or none; a reload replaces it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = TelemetrySettings()
        self._exporter: Any = None
        self._stop: Callable[[], None] = lambda: None
        self._closing: set[asyncio.Task[None]] = set()

    def reconfigure(self, settings: TelemetrySettings) -> None:
        """Tell another collector, or none, from now on."""
        if settings == self._settings:
            return
        self._end()
        self._settings = settings
        if settings.otlp_endpoint is None:
            return
        try:
            edge = part("ollama_proxyd.edges.telemetry.exporter", "telemetry.otlp_endpoint", "otlp")
        except ProxyError as error:
            log.warning("%s", error.message)
            return
        self._exporter = edge.OtlpExporter(settings.otlp_endpoint, self._services.clock)
        self._stop = self._services.energy.booked.listen(self._exporter.note)
        self._services.gateway.traces.are_told = True

    def _end(self) -> None:
        self._stop()
        if self._exporter is not None:
            closing = asyncio.create_task(self._exporter.close(), name="telemetry.close")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._exporter, self._stop = None, lambda: None
        self._services.gateway.traces.are_told = False

    async def close(self) -> None:
        """Have what waits sent."""
        self._end()
        await asyncio.gather(*self._closing)
