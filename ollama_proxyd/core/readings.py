"""What the machine says: measured values, or the reason why there is none."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No value, and why ("no sensor", "stale for 95 s"). Never 0, -1 or a silent None."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """A value and the monotonic time in seconds at which it was read."""

    value: T
    at_s: float


NO_SENSOR = Unavailable("no sensor yet")


def known(reading: Reading[T] | Unavailable) -> T | None:
    """The value of a reading, None when there is none."""
    return reading.value if isinstance(reading, Reading) else None


@dataclass(frozen=True, slots=True)
class SystemState:
    """The laptop as far as it is known; each part is a reading or the reason for its absence.

    Units: percent 0 to 100, degrees Celsius. `power_profile` is power-saver, balanced or performance;
    `performance_degraded` is power-profiles-daemon's reason, "" when not degraded.
    """

    on_battery: Reading[bool] | Unavailable = NO_SENSOR
    battery_percent: Reading[float] | Unavailable = NO_SENSOR
    hottest_c: Reading[float] | Unavailable = NO_SENSOR
    fan_percent: Reading[float] | Unavailable = NO_SENSOR
    power_profile: Reading[str] | Unavailable = NO_SENSOR
    performance_degraded: Reading[str] | Unavailable = NO_SENSOR
    quiet_hours: Reading[bool] | Unavailable = field(default=NO_SENSOR)

    @property
    def says_anything(self) -> bool:
        """Whether any part is known."""
        parts = (getattr(self, name) for name in self.__slots__)
        return any(isinstance(part, Reading) for part in parts)


UNKNOWN_SYSTEM = SystemState()
