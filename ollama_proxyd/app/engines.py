"""Makes the backends of a configuration, with the way to the manager of their units."""

from dbus_fast import BusType

from ollama_proxyd.config.settings import Config
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.on_demand import OnDemand
from ollama_proxyd.edges.host.units import UserUnits
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.ports import Backend, Clock, StateStore


class Engines:
    """What all backends share."""

    def __init__(self, config: Config, clock: Clock, store: StateStore) -> None:
        self.http = HttpClient(config.timeouts)
        self._clock = clock
        self._store = store
        self._line = BusLine(BusType.SESSION, clock)
        """Connected only where an engine has a unit."""
        self._units = UserUnits(self._line)

    def make(self, wanted: BackendConfig) -> Backend:
        """The backend of a configuration."""
        engine, unit = EngineBackend(wanted.spec, self.http, wanted.api_key), wanted.spec.unit
        return engine if unit is None else OnDemand(engine, unit, self._units, self._clock, self._store)

    async def close(self) -> None:
        """End all connections."""
        await self.http.close()
        await self._line.close()
