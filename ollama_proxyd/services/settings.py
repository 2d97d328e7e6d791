"""The numbers that services are configured with."""

from dataclasses import dataclass, field

from ollama_proxyd.core.modes import DEFAULT_TABLE, ModeTable
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.tuning import Tuning, minute_of_day


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How often backends are checked, how long a check may take, and how soon after a failed request they are.

    idle_interval_s: how often while nobody has used the proxy for that long.
    """

    interval_s: float = 15.0
    timeout_s: float = 5.0
    recheck_s: float = 1.0
    idle_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How many requests may be under way, and how many further backends are tried before the first byte."""

    max_in_flight: int = 1024
    retries: int = 1


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The hours in which Auto keeps quiet, as minutes since local midnight; they may run past midnight."""

    start_minute: int = 22 * 60
    end_minute: int = 7 * 60

    @classmethod
    def of(cls, tuning: Tuning) -> "QuietHours | None":
        """Those that are set, None where there are none."""
        if not tuning.quiet_hours_enabled:
            return None
        return cls(minute_of_day(tuning.quiet_hours_start), minute_of_day(tuning.quiet_hours_end))

    def include(self, minute: int) -> bool:
        """Whether a minute of the day lies in them; the last minute does not."""
        if self.start_minute <= self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute


@dataclass(frozen=True, slots=True)
class ModeSettings:
    """What each mode asks for, the numbers of Auto, and how many programs may hold a mode at the same time."""

    table: ModeTable = field(default_factory=lambda: DEFAULT_TABLE)
    auto: AutoSettings = field(default_factory=AutoSettings)
    max_holds: int = 32


@dataclass(frozen=True, slots=True)
class SensingSettings:
    """How often sensors are asked: while nobody uses the proxy, and from a request on until a while after it."""

    idle_s: float = 30.0
    busy_s: float = 2.0
    busy_after_s: float = 60.0
