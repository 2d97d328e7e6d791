"""The numbers that services are configured with."""

from dataclasses import dataclass, field
from typing import Annotated

from ollama_proxyd.core.modes import DEFAULT_TABLE, ModeTable
from ollama_proxyd.core.options import NotNegative, Option, Positive, Within
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.tuning import Tuning, minute_of_day


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How often backends are checked, and how long a check may take."""

    interval_s: Annotated[
        Positive,
        Option(
            "monitoring.health_interval_s",
            "Seconds between two checks of every backend while somebody uses the proxy.",
        ),
    ] = 15.0
    timeout_s: Annotated[
        Positive,
        Option("monitoring.health_timeout_s", "Seconds after which a check counts as failed, at most the interval."),
    ] = 5.0
    recheck_s: Annotated[
        Positive,
        Option("monitoring.health_recheck_s", "Seconds after which a backend that failed a request is checked."),
    ] = 1.0
    idle_interval_s: Annotated[
        Positive,
        Option(
            "monitoring.health_idle_interval_s",
            "Seconds between two checks while nobody has used the proxy for that long.",
        ),
    ] = 60.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How many requests may be under way, and how often another backend is tried."""

    max_in_flight: Annotated[
        int,
        Within(1, 100_000),
        Option("server.max_in_flight", "Requests under way at the same time; one more is told to come later."),
    ] = 1024
    retries: Annotated[
        int,
        Within(0, 10),
        Option("routing.retries", "Further backends that are tried while nothing was sent to the client yet."),
    ] = 1


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
    """What each mode asks for, the numbers of Auto, and how many programs may hold a mode."""

    table: ModeTable = field(default_factory=lambda: DEFAULT_TABLE)
    auto: AutoSettings = field(default_factory=AutoSettings)
    max_holds: Annotated[
        int, Within(0, 10_000), Option("efficiency.max_holds", "Programs that may hold a mode at the same time.")
    ] = 32


@dataclass(frozen=True, slots=True)
class SensingSettings:
    """How often sensors are asked, in idle and in use."""

    idle_s: Annotated[
        float,
        Within(0.1, 3600),
        Option(
            "sensors.idle_interval_s",
            "Seconds between two looks at the sensors while nobody uses the proxy.",
            reload=False,
        ),
    ] = 30.0
    busy_s: Annotated[
        float,
        Within(0.1, 3600),
        Option("sensors.busy_interval_s", "Seconds between two looks while it is used.", reload=False),
    ] = 2.0
    busy_after_s: Annotated[
        NotNegative,
        Option("sensors.busy_for_s", "Seconds after the last request that count as use.", reload=False),
    ] = 60.0
