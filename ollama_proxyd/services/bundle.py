"""What driving edges may use: the services of the configuration in force."""

from dataclasses import dataclass

from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gateway import Gateway
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.tuner import Tuner


@dataclass(frozen=True, slots=True)
class Services:
    """One configuration's services; a reload replaces the bundle whole, and requests keep the one they began with."""

    gateway: Gateway
    fleet: Fleet
    governor: Governor
    ledger: Ledger
    tuner: Tuner
    system: Cell[SystemState]
