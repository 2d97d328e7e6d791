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
        self._known: Household | None = None
        self._household: Household | None = None
        """The same once it can be found."""

    @property
    def is_open(self) -> bool:
        """Whether calls may come that would start no daemon."""
        return self._household is not None

    async def know(self, config: Config) -> None:
        """Know the paired machines, where there is to be a house; raises ProxyError."""
        if config.house.enabled:
            made = part("ollama_proxyd.app.household", "house.enabled", "house")
            deps = made.HouseholdDeps(self._foundation, self._server, self.shared)
            self._known = made.Household(self._folder, config.house, deps)
            await self._known.know()

    async def open(self) -> None:
        """Be found by them; raises ProxyError."""
        if self._known is not None:
            await self._known.open()
            self._household = self._known
            self._server.app[HOUSE].set(self._household)

    def reconfigure(self, config: Config) -> None:
        """Apply what may change while it runs."""
        if self._household is not None:
            self._household.reconfigure(config.house)

    async def close(self) -> None:
        """Say goodbye."""
        if self._household is not None:
            await self._household.close()
