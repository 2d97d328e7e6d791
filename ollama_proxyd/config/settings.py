"""A configuration in force: the plain values that the parts of the daemon are made with."""

from dataclasses import dataclass
from pathlib import Path

from ollama_proxyd.config.problems import Problem
from ollama_proxyd.config.schema import FileConfig
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.settings import GatewaySettings, HealthSettings, ModeSettings, QuietHours, SensingSettings


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """Whether engines are looked for where no backend is configured, on which loopback ports, how often again."""

    enabled: bool
    ports: tuple[int, ...]
    interval_s: float


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Whether the machine's sensors are read, where the kernel shows them, and how often."""

    enabled: bool
    sysfs_root: Path
    pace: SensingSettings


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Whether the daemon shows itself on the session bus."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class SleepSettings:
    """Whether work is ended in good order before the machine sleeps, and whether it holds sleep off on mains power."""

    enabled: bool
    block_while_generating: bool


@dataclass(frozen=True, slots=True)
class LogSettings:
    """From which weight on lines are logged: debug, info, warning or error."""

    level: str


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration.

    `path` is the file that it came from, None for the built-in defaults; `written` is what was asked for,
    environment and options included; `warnings` are things that a person should mend and that do no harm.
    """

    server: ServerSettings
    backends: tuple[BackendConfig, ...]
    gateway: GatewaySettings
    default_mode: Mode
    modes: ModeSettings
    quiet_hours: QuietHours | None
    health: HealthSettings
    detection: DetectionSettings
    sensors: SensorSettings
    bus: BusSettings
    sleep: SleepSettings
    timeouts: Timeouts
    log: LogSettings
    written: FileConfig
    path: Path | None = None
    warnings: tuple[Problem, ...] = ()
