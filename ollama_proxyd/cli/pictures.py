"""What a person or a script is shown of the daemon, the same whether it was asked over D-Bus or HTTP.

The fields' names are the keys of `--json`; None is null: not known, or no such limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModeInfo:
    """One mode: what a second of waiting is worth in watts, and its limits."""

    mode: str
    label: str
    description: str
    price_of_time_w: float | None
    max_power_w: float | None
    max_temp_c: float | None
    max_fan_percent: float | None
    max_concurrency: int | None


@dataclass(frozen=True, slots=True)
class HoldInfo:
    """A program's wish for a mode."""

    mode: str
    reason: str
    application_id: str


@dataclass(frozen=True, slots=True)
class InForce:
    """The mode that was chosen, the one in force, why, and who holds one."""

    mode: str
    effective_mode: str
    reason: str
    holds: tuple[HoldInfo, ...]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The mode in force, and those that there are."""

    in_force: InForce
    modes: tuple[ModeInfo, ...]


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """One backend; `state` is up, down, disabled or unknown, and `reason` says why it is not up, or serves badly.

    `rated_power_watts` is what answering is configured to draw, `power_watts` what its device draws now. `too_hot` says
    that heat keeps requests off it unless nothing else can serve. `unknown` has the reason for each part that is None.
    """

    id: str
    name: str
    hardware: str
    state: str
    reason: str | None
    models: tuple[str, ...]
    in_flight: int
    rated_power_watts: float | None
    power_watts: float | None
    tokens_per_second: float | None
    temperature_celsius: float | None
    asleep: bool | None
    too_hot: bool | None
    enabled: bool
    unknown: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the sensors say; `unknown` has the reason for each part that is None."""

    on_battery: bool | None
    battery_percent: float | None
    power_profile: str | None
    performance_degraded: str | None
    hottest_c: float | None
    fan_percent: float | None
    quiet_hours: bool | None
    games: int | None
    unknown: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Served:
    """What was done since a moment, in words; the energy is estimated from watts and time.

    `saved_j` is estimated too: what the `compared` requests took less than the quickest backends would have taken for
    them, below zero where it was more; None where none was compared.
    """

    since: str
    requests: int
    failures: int
    energy_j: float
    saved_j: float | None
    compared: int


@dataclass(frozen=True, slots=True)
class Status:
    """Everything on one screen; `via` is how the daemon was reached."""

    via: str
    efficiency: InForce
    backends: tuple[BackendInfo, ...]
    machine: Machine
    served: Served


@dataclass(frozen=True, slots=True)
class Settings:
    """When Auto takes which mode; `changed` are the settings that differ from the configuration."""

    settings: Mapping[str, bool | float | str]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    """A request went somewhere."""

    backend: str
    reason: str
