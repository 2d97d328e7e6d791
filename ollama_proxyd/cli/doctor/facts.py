"""What the doctor knows of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HttpFacts:
    """Where the daemon listens, or should.

    `version` is the daemon's if it answers, `grpc_endpoint` where it serves gRPC too, `refusal` why it refuses to
    tell. Else `holder` names the program that has the port, as far as the kernel tells; where `is_silent`, the daemon
    itself, which does not answer.
    """

    url: str
    version: str | None = None
    grpc_endpoint: str | None = None
    refusal: str = ""
    holder: str | None = None
    port_taken: bool = False
    is_silent: bool = False


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
class EngineSocket:
    """The socket of an engine that the proxy runs; `trouble` says what is wrong with it, empty where nothing is."""

    path: str
    backend: str
    model: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """Everything at once.

    `session_bus` and `system_bus` say why there is none, None where there is one. `status` is the answer to GET
    /status, None without one. `services` are names on the system bus, each with whether it is there or can be started.
    `energy_counters` are files, each with whether it can be read. `leftovers` are files of an earlier ollama-proxy;
    `old_daemon` says that it runs.
    """

    session_bus: str | None
    on_the_bus: bool
    http: HttpFacts
    config: ConfigFacts
    status: Any
    system_bus: str | None
    services: Mapping[str, bool]
    energy_counters: Mapping[str, bool]
    devices: tuple[Device, ...]
    leftovers: tuple[str, ...]
    old_daemon: bool
    backends: Any = ()
    """The answer to GET /backends."""
    left_out: Any = ()
    """What the admin API keeps and is not in force, as GET /configuration tells it."""
    house: Any = None
    """The answer to GET /house."""
    sockets: tuple[EngineSocket, ...] = ()
