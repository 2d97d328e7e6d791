"""What driving edges may use."""

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING

from ollama_proxyd.core.engine_instances import Changed
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.topology import Topology
from ollama_proxyd.core.values import value
from ollama_proxyd.services.admission import Admission
from ollama_proxyd.services.answers import Answers
from ollama_proxyd.services.budget import DailyBudget
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.features import Features
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.frontends import Frontends
from ollama_proxyd.services.gateway import Gateway
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.history import History
from ollama_proxyd.services.keeper import Keeper
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import Clock, StateStore
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.runtime_settings import RuntimeSettings

if TYPE_CHECKING:  # loaded only where engines are configured
    from ollama_proxyd.services.engines.pool import EnginePool


@value
class Services:
    """The services, for the life of the process; a reload changes what they hold."""

    answers: Answers
    gateway: Gateway
    admission: Admission
    fleet: Fleet
    frontends: Frontends
    health: HealthMonitor
    governor: Governor
    ledger: Ledger
    energy: EnergyAccounts
    keeper: Keeper
    settings: RuntimeSettings
    system: Cell[SystemState]
    store: StateStore
    clock: Clock
    history: History
    budget: DailyBudget
    power_saver: PowerSaver
    features: Features

    def topology(self) -> Topology:
        """What the processor is made of."""
        return self.features.topology()

    pool: Callable[[], "EnginePool | None"] = lambda: None
    """The owner of the engines that the proxy runs; None where it runs none."""
    engine_news: Topic[Changed] = field(default_factory=Topic)
    """One of them went on, or told how far it is."""
