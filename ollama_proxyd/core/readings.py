"""What the machine says: measured values, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import field, fields
from enum import Enum
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.reasons import Reason, Value
from ollama_proxyd.core.values import value

T = TypeVar("T")


@value
class Unavailable:
    """No value, and why. Never 0, -1 or a silent None."""

    reason: Reason

    @classmethod
    def because(cls, code: str, /, **values: Value | None) -> Self:
        """No value, for the reason with this code and these values."""
        return cls(Reason(code, **values))


@value
class Reading(Generic[T]):
    """A value and the monotonic time in seconds at which it was read.

    `before` is the sample before it, where one alone may be wrong; None where the value needs no second one.
    """

    value: T
    at_s: float
    before: "Maybe[T] | None" = None


Maybe: TypeAlias = Reading[T] | Unavailable

NO_SENSOR = Unavailable(Reason("no_sensor"))


def known(reading: Maybe[T]) -> T | None:
    """The value of a reading, None when there is none."""
    return reading.value if isinstance(reading, Reading) else None


class PowerState(Enum):
    """Whether a device can be asked without waking it (the kernel's power/runtime_status)."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    UNKNOWN = "unknown"


@value
class DeviceState:
    """One device of the machine: what its sensors say now.

    id: stable over restarts: "cpu", or the PCI address (0000:01:00.0). temperature_c: its hottest sensor.
    critical_c: where the device protects itself. slope_c_per_s: how fast the temperature rises. fan_percent: of its
    fan's maximum. power_w: what it draws. energy_j: a counter since some start. throttling: why it is throttled
    for heat or by power brakes, "" when it is not.
    """

    id: str
    hardware: Hardware
    name: str
    power_state: PowerState = PowerState.UNKNOWN
    temperature_c: Maybe[float] = NO_SENSOR
    critical_c: Maybe[float] = NO_SENSOR
    slope_c_per_s: Maybe[float] = NO_SENSOR
    fan_percent: Maybe[float] = NO_SENSOR
    fan_rpm: Maybe[float] = NO_SENSOR
    power_w: Maybe[float] = NO_SENSOR
    energy_j: Maybe[float] = NO_SENSOR
    utilisation_percent: Maybe[float] = NO_SENSOR
    memory_used_bytes: Maybe[int] = NO_SENSOR
    memory_total_bytes: Maybe[int] = NO_SENSOR
    throttling: Maybe[str] = NO_SENSOR


DEVICE_READINGS = tuple(
    field.name for field in fields(DeviceState) if field.name not in {"id", "hardware", "name", "power_state"}
)


@value
class SystemState:
    """The laptop as far as it is known; each part is a reading or the reason for its absence.

    Units: percent 0 to 100, degrees Celsius, watts, seconds, bytes. `power_profile` is power-saver, balanced or
    performance; `performance_degraded` is power-profiles-daemon's reason, "" when not degraded; `battery_state` and
    `battery_warning` are UPower's words in lower case (charging, discharging, fully-charged …; none, low, critical).
    `battery_full_wh` is what the battery holds when full, as old as it is.
    `hottest_c` and `fan_percent` are the highest of the devices that backends run on. `games` counts what GameMode
    knows to be running.
    """

    on_battery: Maybe[bool] = NO_SENSOR
    battery_percent: Maybe[float] = NO_SENSOR
    battery_state: Maybe[str] = NO_SENSOR
    battery_warning: Maybe[str] = NO_SENSOR
    battery_rate_w: Maybe[float] = NO_SENSOR
    battery_full_wh: Maybe[float] = NO_SENSOR
    time_to_empty_s: Maybe[float] = NO_SENSOR
    power_profile: Maybe[str] = NO_SENSOR
    performance_degraded: Maybe[str] = NO_SENSOR
    games: Maybe[int] = NO_SENSOR
    cpu_percent: Maybe[float] = NO_SENSOR
    memory_available_bytes: Maybe[int] = NO_SENSOR
    hottest_c: Maybe[float] = NO_SENSOR
    fan_percent: Maybe[float] = NO_SENSOR
    quiet_hours: Maybe[bool] = NO_SENSOR
    devices: tuple[DeviceState, ...] = ()

    @property
    def says_anything(self) -> bool:
        """Whether any part is known."""
        parts = (getattr(self, name) for name in _READINGS)
        return any(isinstance(part, Reading) for part in parts) or bool(self.devices)


_READINGS = tuple(field.name for field in fields(SystemState) if field.name != "devices")
UNKNOWN_SYSTEM = SystemState()


class Conditions(NamedTuple):
    """What firmware sets speed and watts by; None where it is unknown."""

    on_battery: bool | None
    power_profile: str | None

    @classmethod
    def of(cls, system: SystemState) -> Self:
        """The conditions now."""
        return cls(known(system.on_battery), known(system.power_profile))


@value
class Sensed:
    """What one sensor says at one moment: parts of SystemState by name, and the devices that it speaks for.

    Several sensors may speak for one device id; unknown parts stay NO_SENSOR and do not hide another sensor's.
    """

    system: Mapping[str, Maybe[Any]] = field(default_factory=dict)
    devices: tuple[DeviceState, ...] = ()


SENSORS_OFF = Sensed(
    dict.fromkeys((name for name in _READINGS if name != "quiet_hours"), Unavailable.because("sensors_off"))
)
"""What is said of the machine where nobody asks it; the clock alone tells of quiet hours."""
