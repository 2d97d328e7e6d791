"""Makes the backends of a configuration, with the way to the manager of their units."""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dbus_fast import BusType

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.engine_files import ModelFile
from ollama_proxyd.core.engine_instances import LEAVING, Changed, Phase
from ollama_proxyd.core.engine_program import EngineSettings
from ollama_proxyd.core.features import EngineWishes, as_wished
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.policy.priors import expect, expected_power_w
from ollama_proxyd.core.policy.residence import upkeep
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.on_demand import OnDemand
from ollama_proxyd.edges.engines.records import any_in
from ollama_proxyd.edges.host.network import SystemNetwork
from ollama_proxyd.edges.host.units import UserUnits
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.sensors.topology import topology
from ollama_proxyd.edges.storage.state_file import engines_folder, prompts_folder
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.features import Features
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.ports import Backend, Clock, StateStore

if TYPE_CHECKING:  # loaded only where engines are configured
    from ollama_proxyd.app.own_engines import OwnEngines
    from ollama_proxyd.services.engines.pool import EnginePool

log = logging.getLogger(__name__)


class Engines:
    """What all backends share."""

    def __init__(self, config: Config, clock: Clock, store: StateStore, system: Cell[SystemState]) -> None:
        self.http = HttpClient(config.timeouts)
        self._settings = config.engine
        self._system = system
        self._own: OwnEngines | None = None
        self.started: Topic[EnginePool] = Topic()
        """The owner of processes, once there is one."""
        self.changed: Topic[Changed] = Topic()
        """A process went on, or told how far it is."""
        self.features = Features(store, partial(topology, str(config.sensors.sysfs_root)))
        self.shared: Callable[[BackendConfig], Backend] | None = None
        """Makes those of paired machines, once there is a house."""
        self._clock = clock
        self._store = store
        self._line = BusLine(BusType.SESSION, clock)
        """Connected only where an engine has a unit."""
        self._units = UserUnits(self._line)
        self._system_line = BusLine(BusType.SYSTEM, clock)
        """Connected only where models are pulled."""
        self.network = SystemNetwork(self._system_line)

    def make(self, wanted: BackendConfig) -> Backend:
        """The backend of a configuration."""
        if wanted.spec.machine is not None and self.shared is not None:
            return self.shared(wanted)
        if wanted.spec.engine is not None:
            return self._run().make(wanted.spec)
        engine, unit = EngineBackend(wanted.spec, self.http, wanted.api_key, self.features.wishes), wanted.spec.unit
        return engine if unit is None else OnDemand(engine, unit, self._units, self._clock, self._store)

    def _run(self) -> "OwnEngines":
        """What runs engines, loaded only where there are any."""
        if self._own is None:
            from ollama_proxyd.app.own_engines import OwnEngines, OwnEnginesDeps  # noqa: PLC0415

            deps = OwnEnginesDeps(self.http, self._line, self._clock, self._store, self._system, self.features.wishes)
            self._own = OwnEngines(self._settings, deps)
            self._own.pool.changed.listen(self.changed.publish)
            self.started.publish(self._own.pool)
        return self._own

    def recover(self) -> None:
        """Have engines and prompts looked after that a daemon left, also where none is configured any more."""
        if any_in(engines_folder(os.environ)) or prompts_folder(os.environ).is_dir():
            self._run()

    def note_games(self, system: SystemState) -> None:
        """A game has the cards for itself; what works there still is looked at again with the next reading."""
        if self._own is not None and (known(system.games) or 0) > 0:
            self._own.pool.leave_cards()

    async def leave_cards(self) -> None:
        """Have idle engines leave the memory of cards before the machine sleeps."""
        if self._own is not None:
            await asyncio.gather(*(each.gone.wait() for each in self._own.pool.leave_cards()))

    @property
    def pool(self) -> "EnginePool | None":
        """The processes that the proxy runs; None where it runs none."""
        return None if self._own is None else self._own.pool

    def reconfigure(self, settings: EngineSettings) -> None:
        """Have engines run by other settings from now on."""
        self._settings = settings
        if self._own is not None:
            self._own.reconfigure(settings)

    async def close(self, can_start: Callable[[], bool]) -> None:
        """End all processes of ours, and all connections; a restart keeps what lives without the daemon."""
        if self._own is not None:
            await self._own.close(keeps_units=await self._is_followed(can_start))
        await self.http.close()
        await self._line.close()
        await self._system_line.close()

    async def _is_followed(self, can_start: Callable[[], bool]) -> bool:
        """Whether the service manager starts a daemon at once that can take them over; not where it cannot be asked."""
        try:
            is_restarting = await self._units.is_restarting(os.getpid())
        except OSError:
            return False
        if is_restarting and not can_start():
            log.warning("engines are ended with this restart: the next start does not take the configuration")
            return False
        return is_restarting


def follow_pool(pool: "EnginePool", fleet: Fleet, admission: Admission, wishes: Cell[EngineWishes]) -> None:
    """Have processes leave with their backends, and their loading priced as the policy prices it."""

    def reload_j(spec: BackendSpec, file: ModelFile) -> float:
        if not fleet.has(spec.id):
            return 0.0
        view = fleet.view(spec.id)
        return upkeep(view, file.model, expected_power_w(view, file.model)).again_j

    def read_j(spec: BackendSpec, file: ModelFile, tokens: int) -> float:
        if not fleet.has(spec.id):
            return 0.0
        expected = expect(fleet.view(spec.id), file.model)
        return expected.prefill_s(tokens) * expected.power_w

    def note(changed: Changed) -> None:
        if changed.instance.phase in {*LEAVING, Phase.GONE}:
            fleet.note_unloaded(changed.instance.backend_id, changed.instance.model)

    pool.reload_j, pool.starter.prompts.read_j = reload_j, read_j
    pool.waiting_for = admission.waiting_for
    pool.changed.listen(note)
    pool.evicted.listen(admission.warm.note_eviction)

    def reconcile(_: object) -> None:
        pool.reconcile({each.id: as_wished(each.config.spec, wishes.value) for each in fleet.members.values()})

    fleet.reconciled.listen(reconcile)
