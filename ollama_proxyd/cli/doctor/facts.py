"""What the doctor judges: plain facts about this machine and the daemon on it."""

from collections.abc import Mapping
from dataclasses import dataclass

from ollama_proxyd.cli.pictures import Status


@dataclass(frozen=True, slots=True)
class HttpFacts:
    """What is found at the address where the daemon should listen.

    `version` is the daemon's when it answers, `refusal` why it does not tell; else `trouble` says what happened, and
    `holder` names the program that has the port, as far as that can be seen.
    """

    url: str
    version: str | None = None
    refusal: str = ""
    trouble: str = ""
    holder: str | None = None
    port_taken: bool = False


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """The file, None for the built-in defaults, and a line for each problem."""

    path: str | None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """A device node that engines use, and the group that may."""

    path: str
    group: str
    open_to_us: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything at once.

    `session_bus` and `system_bus` say why there is none, None where there is one. `services` are names on the system
    bus, each with whether it is there or can be started. `energy_counters` are files, each with whether it can be
    read. `leftovers` are files of an earlier ollama-proxy; `old_daemon` says that such a one runs.
    """

    session_bus: str | None
    on_the_bus: bool
    http: HttpFacts
    config: ConfigFacts
    status: Status | None
    system_bus: str | None
    services: Mapping[str, bool]
    energy_counters: Mapping[str, bool]
    devices: tuple[Device, ...]
    leftovers: tuple[str, ...]
    old_daemon: bool
