"""A configuration in force: the settings of every part of the daemon."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from ollama_proxyd.config.problems import Origin, Problem
from ollama_proxyd.core.administration import LeftOut
from ollama_proxyd.core.answer_cache import CacheSettings
from ollama_proxyd.core.budget import BudgetSettings
from ollama_proxyd.core.engine_program import EngineSettings
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.model_sync import SyncSettings
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.options import Like, Option, Positive, Within
from ollama_proxyd.core.power_saver import PowerSaverSettings
from ollama_proxyd.core.tariff import CostSettings
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.backends.engines import KNOWN_PORTS
from ollama_proxyd.edges.grpc_api.settings import GrpcSettings
from ollama_proxyd.edges.host.syslog import SyslogAddress
from ollama_proxyd.edges.house.settings import HouseSettings
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.edges.storage.settings import HistorySettings
from ollama_proxyd.edges.telemetry.settings import TelemetrySettings
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.settings import (
    GatewaySettings,
    HealthSettings,
    KeepingSettings,
    ModeSettings,
    QueueSettings,
    SensingSettings,
)

Port: TypeAlias = Annotated[int, Within(1, 65535)]
AbsolutePath: TypeAlias = Annotated[str, Like("^/.*$", "a path that begins with /")]
EnvironmentName: TypeAlias = Annotated[str, Like("^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable")]
FilePath: TypeAlias = Annotated[str, Like("[\\s\\S]+", "the path of a file")]


@value
class Auth:
    """Where the token stands that clients must present as `Authorization: Bearer …`."""

    token_env: Annotated[
        EnvironmentName | None, Option("server.auth.", "The environment variable with the bearer token.")
    ] = None
    token_file: Annotated[
        FilePath | None, Option("server.auth.", "The file with the bearer token, relative to this file or under ~/.")
    ] = None


@value
class ApiKeySource:
    """Where the key stands that a backend's API asks for."""

    api_key_env: Annotated[
        EnvironmentName | None, Option("backends[].", "The environment variable with its API key.")
    ] = None
    api_key_file: Annotated[
        FilePath | None, Option("backends[].", "The file with its API key, relative to this file or under ~/.")
    ] = None


@value
class FrontendToken:
    """Where the token stands that a front end's clients present."""

    token_env: Annotated[
        EnvironmentName | None, Option("frontends[].", "The environment variable with its bearer token.")
    ] = None
    token_file: Annotated[
        FilePath | None, Option("frontends[].", "The file with its bearer token, relative to this file or under ~/.")
    ] = None


@value
class DetectionSettings:
    """The search for engines when no backend is configured."""

    enabled: Annotated[bool, Option("detection.", "Whether to search for engines.")] = True
    ports: Annotated[
        tuple[Port, ...], Option("detection.", "TCP ports on 127.0.0.1 to search, except the server's own.")
    ] = KNOWN_PORTS
    interval_s: Annotated[Positive, Option("detection.", "Seconds until the next search while no engine answers.")] = (
        5.0
    )


@value
class SensorSettings:
    """Whether and how often the machine's sensors are read."""

    pace: SensingSettings
    enabled: Annotated[bool, Option("sensors.", "Whether the machine's sensors are read.", reload=False)] = True
    sysfs_root: Annotated[
        Path,
        Option("sensors.", "The mount point of sysfs.", reload=False, written=AbsolutePath, default="/sys", read=Path),
    ] = Path("/sys")


@value
class BusSettings:
    """Whether the daemon is on the session bus."""

    enabled: Annotated[
        bool, Option("dbus.", "Whether the daemon offers its D-Bus API, where there is a bus.", reload=False)
    ] = True


@value
class SleepSettings:
    """Suspend and resume."""

    enabled: Annotated[
        bool, Option("sleep.", "Whether running requests end in order before the machine sleeps.", reload=False)
    ] = True
    block_while_generating: Annotated[
        bool, Option("sleep.", "Whether generation keeps the machine awake, on mains power only.", reload=False)
    ] = False


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@value
class LogSettings:
    """What is logged."""

    level: Annotated[LogLevel, Option("monitoring.log_level", "The lowest level that is logged.")] = LogLevel.INFO
    syslog: Annotated[
        SyslogAddress | None,
        Option(
            "monitoring.",
            "Where lines of log go as well: the socket of a syslog daemon such as /dev/log, or an address for UDP such "
            "as 192.0.2.1:514; null: nowhere.",
        ),
    ] = None


@value
class Config:
    """A whole configuration.

    `values` is every option in force, in the shape of the file. `path` is the file that it came from, None for the
    built-in defaults. `warnings` are things that a person should mend and that do no harm.
    """

    server: ServerSettings
    grpc: GrpcSettings
    picker: PickerSettings
    house: HouseSettings
    auth: Auth
    gateway: GatewaySettings
    keeping: KeepingSettings
    queue: QueueSettings
    modes: ModeSettings
    budget: BudgetSettings
    costs: CostSettings
    tuning: Tuning
    health: HealthSettings
    detection: DetectionSettings
    sensors: SensorSettings
    bus: BusSettings
    sleep: SleepSettings
    history: HistorySettings
    answer_cache: CacheSettings
    model_sync: SyncSettings
    power_saver: PowerSaverSettings
    timeouts: Timeouts
    log: LogSettings
    telemetry: TelemetrySettings
    engine: EngineSettings
    backends: tuple[BackendConfig, ...] = ()
    api_keys: tuple[ApiKeySource, ...] = ()
    frontends: tuple[FrontendSettings, ...] = ()
    frontend_tokens: tuple[FrontendToken, ...] = ()
    engines: tuple[BackendConfig, ...] = ()
    """The backends whose engines the proxy runs itself."""
    default_mode: Annotated[
        Mode, Option("efficiency.", "The mode until one is chosen; a choice survives restarts.", reload=False)
    ] = Mode.BALANCED
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    path: Path | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)
    """Where each key was written that is not as by default."""
    warnings: tuple[Problem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    """What the admin API keeps and the file contradicts."""
