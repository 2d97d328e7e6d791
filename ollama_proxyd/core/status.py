"""The status as values; every edge shows these under these names."""

from collections.abc import Mapping

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.budget import Budget
from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.holds import Hold
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import ModeRow, ModeSetting, ModeTable
from ollama_proxyd.core.policy.heat import is_heat_known, is_too_hot
from ollama_proxyd.core.policy.mode_limits import outside
from ollama_proxyd.core.policy.priors import guessed_power_w
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value

NOT_CONFIGURED = Unavailable.because("not_configured")
NOT_LEARNED = Unavailable.because("not_learned")
LOADED_UNKNOWN = Unavailable.because("loaded_unknown")
NO_THERMOMETER = Unavailable.because("no_thermometer")
SLEEP_UNKNOWN = Unavailable.because("sleep_unknown")


@value
class BackendStatus:
    """One backend now.

    `outside_mode`: why it serves in the mode in force only where no other can; None within the mode. `power_watts` is
    what its device draws now. `too_hot`: heat keeps requests off it, unless nothing else can serve.
    `tokens_per_second` is that of its most asked model. `slots` are the requests that it answers at once. `off`: its
    engine, the systemd `unit`, is stopped until the next request. `machine`: the paired one that shares it, if any.
    """

    id: str
    name: str
    hardware: str
    health: str
    reason: Reason | None
    enabled: bool
    outside_mode: Reason | None
    models: tuple[str, ...]
    loaded_models: tuple[str, ...] | Unavailable
    in_flight: int
    slots: int
    slots_from: str
    rated_power_watts: float | Unavailable
    power_watts: float | Unavailable
    temperature_celsius: float | Unavailable
    asleep: bool | Unavailable
    too_hot: bool | Unavailable
    tokens_per_second: float | Unavailable
    unit: str | None
    off: bool
    machine: str | None


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


def backend_status(view: BackendView, system: SystemState, row: ModeRow, now_s: float) -> BackendStatus:
    """One backend now, judged by the mode in force."""
    spec, device = view.spec, device_of(view.spec, system.devices)
    unbound = Unavailable(_why_unbound(view, system))
    learned_tps = most_asked(view).told_tps
    return BackendStatus(
        id=spec.id,
        name=spec.name,
        hardware=spec.hardware.value,
        health=view.told_health,
        reason=view.reason_at(now_s),
        enabled=view.health is not Health.DISABLED,
        outside_mode=outside(view, device, system, row),
        models=tuple(model.name for model in view.models),
        loaded_models=LOADED_UNKNOWN if view.loaded is None else tuple(model.name for model in view.loaded),
        in_flight=view.in_flight,
        slots=view.slots,
        slots_from=view.slots_from.value,
        rated_power_watts=rated_power_watts(view),
        power_watts=unbound if device is None else _value(device.power_w),
        temperature_celsius=unbound if device is None else _value(device.temperature_c),
        asleep=unbound if device is None else asleep(device),
        too_hot=unbound if device is None else _too_hot(view, device, row),
        tokens_per_second=NOT_LEARNED if learned_tps is None else learned_tps,
        unit=spec.unit,
        off=view.is_off,
        machine=spec.machine,
    )


def within_mode(fleet: FleetView, system: SystemState, row: ModeRow) -> int:
    """How many backends can serve within the mode in force; others serve only where these cannot."""
    serving = [view for view in fleet if view.can_serve]
    return sum(outside(view, device_of(view.spec, system.devices), system, row) is None for view in serving)


def rated_power_watts(view: BackendView) -> float | Unavailable:
    """The configured watts; where none are, and none were measured, the reason has the guess."""
    rated_w, guess_w = view.spec.profile.power_w, guessed_power_w(view)
    if rated_w is not None:
        return rated_w
    return NOT_CONFIGURED if guess_w is None else Unavailable.because("power_guessed", power_watts=guess_w)


def device_statuses(system: SystemState, fleet: FleetView) -> tuple[DeviceStatus, ...]:
    """Each device with the backends that run on it."""
    bound = [(device_of(view.spec, system.devices), view.spec.id) for view in fleet]
    there = {id(device): tuple(each for on, each in bound if on is device) for device in system.devices}
    return tuple(DeviceStatus(device, there[id(device)]) for device in system.devices)


def most_asked(view: BackendView) -> Speed:
    """What was learned of the model that was asked most."""
    return max(view.speeds.values(), key=lambda speed: speed.samples, default=Speed())


def _value(reading: Maybe[float]) -> float | Unavailable:
    return reading.value if isinstance(reading, Reading) else reading


def asleep(device: DeviceState) -> bool | Unavailable:
    """Whether a device sleeps, as far as the kernel says."""
    return SLEEP_UNKNOWN if device.power_state is PowerState.UNKNOWN else device.power_state is PowerState.ASLEEP


def _too_hot(view: BackendView, device: DeviceState, row: ModeRow) -> bool | Unavailable:
    if is_heat_known(device):
        return is_too_hot(view, device, row)
    heat = device.temperature_c
    return heat if isinstance(heat, Unavailable) else NO_THERMOMETER


def _why_unbound(view: BackendView, system: SystemState) -> Reason:
    return why_unbound(view.spec, system.devices) or Reason("no_device" if view.spec.is_local else "not_local")
