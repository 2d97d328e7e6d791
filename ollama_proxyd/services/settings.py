"""The numbers that services are configured with."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated

from ollama_proxyd.core.continuation import Failover
from ollama_proxyd.core.modes import DEFAULT_TABLE, ModeTable
from ollama_proxyd.core.options import NotNegative, Option, Positive, Within
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.tuning import Tuning, minute_of_day
from ollama_proxyd.core.values import value


@value
class HealthSettings:
    """How often backends are checked, and how long a check may take."""

    interval_s: Annotated[
        Positive, Option("monitoring.health_interval_s", "Seconds between health checks while the proxy is in use.")
    ] = 15.0
    timeout_s: Annotated[
        Positive,
        Option("monitoring.health_timeout_s", "Seconds after which a health check fails, at most the interval."),
    ] = 5.0
    recheck_s: Annotated[
        Positive, Option("monitoring.health_recheck_s", "Seconds from a failed request until the backend is checked.")
    ] = 1.0
    idle_interval_s: Annotated[
        Positive,
        Option("monitoring.health_idle_interval_s", "Seconds between health checks after that long without a request."),
    ] = 60.0


@value
class GatewaySettings:
    """How many requests may be under way, and how often another backend is tried."""

    max_in_flight: Annotated[
        int, Within(1, 100_000), Option("server.", "The limit of requests in flight; further ones are refused.")
    ] = 1024
    retries: Annotated[
        int,
        Within(0, 10),
        Option(
            "routing.",
            "The most further backends to try before the first byte of an answer. "
            "Beyond 3 they are tried for a fifth of the recent requests.",
        ),
    ] = 10
    failover: Annotated[
        Failover,
        Option(
            "routing.",
            "Which backends go on with an answer that breaks in the middle; any-candidate takes other weights too.",
        ),
    ] = Failover.SAME_MODEL
    aliases: Annotated[
        Mapping[str, tuple[str, ...]],
        Option("models", "Names for clients, each with a list of the names that backends have for the same model."),
    ] = field(default_factory=dict)


class KeepAlive(Enum):
    """Who says how long an unused model stays in memory, where no client does."""

    BREAK_EVEN = "break-even"
    ENGINE = "engine"


@value
class KeepingSettings:
    """How long unused models stay in memory."""

    keep_alive: Annotated[
        KeepAlive,
        Option(
            "routing.",
            "How long unused models stay in memory: until keeping has cost as much as loading again, "
            "or as long as their engine keeps them. A client's own keep_alive always counts.",
        ),
    ] = KeepAlive.BREAK_EVEN
    prewarm: Annotated[
        bool,
        Option(
            "routing.",
            "Whether a model that is usually wanted at this hour is loaded beforehand, on the charger, where the wait "
            "that it spares is worth more joules than it costs.",
        ),
    ] = False


@value
class QueueSettings:
    """How many requests may wait for a slot, and how long."""

    max_length: Annotated[
        int, Within(0, 100_000), Option("routing.queue.", "The limit of waiting requests; further ones are refused.")
    ] = 512
    max_per_model: Annotated[
        int | None,
        Within(0, 100_000),
        Option("routing.queue.", "The limit of waiting requests for one model; null: that of all."),
    ] = None
    max_wait_s: Annotated[
        Positive,
        Option("routing.queue.", "The longest wait of a request for a backend, in seconds; in the background twice."),
    ] = 600.0
    max_turn_s: Annotated[
        NotNegative,
        Option(
            "routing.queue.",
            "Seconds for which requests for the model in memory go before those for one that would evict it.",
        ),
    ] = 30.0

    def longest_s(self, priority: Priority) -> float:
        """The longest wait; none waits for work in the background, which lets others go first for a while."""
        return self.max_wait_s * (2 if priority is Priority.BEST_EFFORT else 1)


@value
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


@value
class ModeSettings:
    """What each mode asks for, the numbers of Auto, and how many programs may hold a mode."""

    table: ModeTable = field(default_factory=lambda: DEFAULT_TABLE)
    auto: AutoSettings = field(default_factory=AutoSettings)
    max_holds: Annotated[
        int, Within(0, 10_000), Option("efficiency.", "The limit of programs that hold a mode at the same time.")
    ] = 32
    max_hold_s: Annotated[Positive, Option("efficiency.", "The longest that a mode is held, in seconds.")] = 86_400.0


@value
class SensingSettings:
    """How often sensors are asked, in idle and in use."""

    idle_s: Annotated[
        float,
        Within(0.1, 3600),
        Option("sensors.idle_interval_s", "Seconds between sensor readings while the proxy is idle.", reload=False),
    ] = 30.0
    busy_s: Annotated[
        float,
        Within(0.1, 3600),
        Option("sensors.busy_interval_s", "Seconds between sensor readings while the proxy is in use.", reload=False),
    ] = 2.0
    busy_after_s: Annotated[
        NotNegative,
        Option("sensors.busy_for_s", "Seconds after the last request until the proxy is idle.", reload=False),
    ] = 60.0
