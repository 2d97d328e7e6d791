"""The house where it is configured; nothing of it is imported elsewhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ollama_proxyd.app.extras import part
from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.app.sources import Shared
from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.http_api.context import HOUSE
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.storage.state_file import state_path

if TYPE_CHECKING:
    from ollama_proxyd.app.household import Household


class HouseDoor:
    """The household or none, for the life of the daemon."""

    def __init__(self, environ: Mapping[str, str], server: HttpServer, foundation: Foundation) -> None:
        self._folder = state_path(environ).parent / "house"
        self._server = server
        self._foundation = foundation
        self.shared = Shared()
        self._household: Household | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls may come that would start no daemon."""
        return self._household is not None

    async def open(self, config: Config) -> None:
        """Begin, where that is configured; raises ProxyError."""
        if not config.house.enabled:
            return
        made = part("ollama_proxyd.app.household", "house.enabled", "house")
        household: Household = made.Household(
            self._folder, config.house, made.HouseholdDeps(self._foundation, self._server, self.shared)
        )
        await household.open()
        self._household = household
        self._server.app[HOUSE].set(household)

    def reconfigure(self, config: Config) -> None:
        """Apply what may change while it runs."""
        if self._household is not None:
            self._household.reconfigure(config.house)

    async def close(self) -> None:
        """Say goodbye."""
        if self._household is not None:
            await self._household.close()
