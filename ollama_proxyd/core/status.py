"""The status as values; every edge shows these under these names."""

from collections.abc import Mapping

from ollama_proxyd.core.backend_status import BackendStatus
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.budget import Budget
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.holds import Hold
from ollama_proxyd.core.modes import ModeSetting, ModeTable
from ollama_proxyd.core.readings import DeviceState, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value


@value
class QueueStatus:
    """The requests that wait for a backend; `oldest_wait_seconds` is None where none waits.

    `deferred` are those that wait for the charger, outside the queue.
    """

    waiting: int
    by_priority: Mapping[str, int]
    oldest_wait_seconds: float | None
    deferred: int = 0


@value
class DeviceStatus:
    """A device, and the backends that run on it."""

    state: DeviceState
    backends: tuple[str, ...]


@value
class Today:
    """Sums since local midnight; `saved_joules` over the `compared` requests, None where none was compared."""

    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    energy_joules: float
    energy_source: str
    energy_error_joules: float
    idle_tail_joules: float
    idle_tail_source: str
    idle_tail_error_joules: float
    saved_joules: float | None
    compared: int | None
    money_spent: Mapping[str, float]
    """By currency; estimated from tokens and configured prices."""
    cached_answers: int = 0
    """How many came from the cache of answers."""
    cache_saved_joules: float = 0.0
    """What these had cost when they were made, as far as is known."""


@value
class EnergyAccount:
    """Joules of a device, or of a backend of no known device: of its answers, its idle tail, or what it draws anyway.

    `source` is measured, attributed or estimated; the errors are how far the joules may be wrong. They are None for the
    reason given.
    """

    device: str
    account: str
    source: str | None = None
    today_joules: float | None = None
    today_error_joules: float | None = None
    total_joules: float | None = None
    total_error_joules: float | None = None
    reason: Reason | None = None


@value
class LastDecision:
    """The last request that was routed or refused; the estimates are None where no backend got it.

    `instead_of` is the backend of the mode Performance where that is another one. `ended` is None while the request
    runs, else ok, cancelled or the kind of error.
    """

    unix_s: float
    backend: str | None
    reason: Reason
    ended: str | None
    mode: str | None = None
    effective_mode: str | None = None
    model: str | None = None
    power_watts: float | None = None
    latency_ms: float | None = None
    energy_joules: float | None = None
    instead_of: str | None = None
    instead_of_joules: float | None = None


@value
class HistoryStatus:
    """Why the history is not as it should be; None where all is well."""

    reason: Reason | None


@value
class PowerSaverStatus:
    """The profile power-saver: whether it is held now, and what it brought since the start, as far as measured."""

    held: bool
    answers: int
    saved_joules: float


@value
class UnloadingStatus:
    """Models that were unloaded before their engine would have done it, and what that saved since the start."""

    models: int
    saved_joules: float
    """Estimated, less what loading again cost; below zero where that was more."""


@value
class PullStatus:
    """A required model that a backend lacks: waiting, pulling, or failed until it is tried again."""

    backend: str
    model: str
    state: str
    completed_bytes: int
    total_bytes: int | None
    failures: int
    retry_seconds: float | None
    reason: Reason | None


@value
class FrontendStatus:
    """A front end: where it is, what it serves, and what came to it since the start.

    `refused` are those that its limits kept out, which are no `requests`.
    """

    name: str
    hosts: tuple[str, ...]
    port: int | None
    unix_socket: str | None
    has_token: bool
    allowed_models: tuple[str, ...]
    backend_labels: tuple[str, ...]
    required_models: tuple[str, ...]
    allowed_operations: tuple[str, ...]
    balancing: str
    requests_per_minute: int | None
    requests: int
    errors: int
    refused: int


@value
class Status:
    """Everything at one moment."""

    setting: ModeSetting
    modes: ModeTable
    holds: tuple[Hold, ...]
    backends: tuple[BackendStatus, ...]
    queue: QueueStatus
    devices: tuple[DeviceStatus, ...]
    system: SystemState
    today: Today
    budget: Budget
    energy: tuple[EnergyAccount, ...]
    last_decision: LastDecision | None
    history: HistoryStatus
    power_saver: PowerSaverStatus
    unloading: UnloadingStatus
    frontends: tuple[FrontendStatus, ...] = ()
    model_sync: tuple[PullStatus, ...] = ()


def device_statuses(system: SystemState, fleet: FleetView) -> tuple[DeviceStatus, ...]:
    """Each device with the backends that run on it."""
    bound = [(device_of(view.spec, system.devices), view.spec.id) for view in fleet]
    there = {id(device): tuple(each for on, each in bound if on is device) for device in system.devices}
    return tuple(DeviceStatus(device, there[id(device)]) for device in system.devices)
