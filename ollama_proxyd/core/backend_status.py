"""One backend now, as a value; every edge shows it under these names."""

from math import ceil
from typing import NamedTuple

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.breaker import rest_left_s
from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import ModeRow
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


class Moment(NamedTuple):
    """One moment on both clocks: the monotonic one, and that of people, in seconds since 1970."""

    monotonic_s: float
    unix_s: float


@value
class BackendStatus:
    """One backend now.

    `outside_mode`: why it serves in the mode in force only where no other can; None within the mode. `power_watts` is
    what its device draws now. `too_hot`: heat keeps requests off it, unless nothing else can serve.
    `tokens_per_second` is that of its most asked model. `slots` are the requests that it answers at once. `off`: its
    engine, the systemd `unit`, is stopped until the next request. `machine`: the paired one that shares it, if any.
    `resting_until_unix_seconds`: when it takes requests again that its rate limit keeps away; None where none does.
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
    resting_until_unix_seconds: float | None


def backend_status(view: BackendView, system: SystemState, row: ModeRow, now: Moment) -> BackendStatus:
    """One backend now, judged by the mode in force."""
    spec, device = view.spec, device_of(view.spec, system.devices)
    unbound = Unavailable(_why_unbound(view, system))
    learned_tps = most_asked(view).told_tps
    return BackendStatus(
        id=spec.id,
        name=spec.name,
        hardware=spec.hardware.value,
        health=view.told_health,
        reason=view.reason_at(now.monotonic_s),
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
        resting_until_unix_seconds=_resting_until(view, now),
    )


def _resting_until(view: BackendView, now: Moment) -> float | None:
    """In whole seconds, so that it is the same each time it is told."""
    left_s = rest_left_s(view.breakers, now.monotonic_s)
    return float(ceil(now.unix_s + left_s)) if left_s else None


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


def most_asked(view: BackendView) -> Speed:
    """What was learned of the model that was asked most."""
    return max(learned(view.speeds).values(), key=lambda each: each.samples, default=Speed())


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
