"""What is measured of a backend at one moment, and of what is not known the reason."""

from dataclasses import dataclass

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.heat import from_heat, is_heat_known
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason

NOT_LEARNED = Unavailable.because("not_learned")
NO_THERMOMETER = Unavailable.because("no_thermometer")
NOT_TOLD = Unavailable.because("sleep_unknown")


@dataclass(frozen=True, slots=True)
class BackendNow:
    """Power, temperature and sleep of its device, and the speed of its most asked model.

    `too_hot`: heat keeps requests off it in this mode, unless nothing else can serve.
    """

    power_watts: float | Unavailable
    temperature_celsius: float | Unavailable
    asleep: bool | Unavailable
    too_hot: bool | Unavailable
    tokens_per_second: float | Unavailable


def backend_now(view: BackendView, system: SystemState, row: ModeRow) -> BackendNow:
    """The present measurements of one backend, judged by the mode in force."""
    device = device_of(view.spec, system.devices)
    learned_tps = most_asked(view).decode_tps
    speed_tps = NOT_LEARNED if learned_tps is None else learned_tps
    if device is None:
        unbound = Unavailable(_why_unbound(view, system))
        return BackendNow(unbound, unbound, unbound, unbound, speed_tps)
    return BackendNow(
        power_watts=_value(device.power_w),
        temperature_celsius=_value(device.temperature_c),
        asleep=_asleep(device),
        too_hot=bool(from_heat(view, device, row)) if is_heat_known(device) else _why_no_heat(device),
        tokens_per_second=speed_tps,
    )


def most_asked(view: BackendView) -> Speed:
    """What was learned of the model that was asked most."""
    return max(view.speeds.values(), key=lambda speed: speed.samples, default=Speed())


def _value(reading: Maybe[float]) -> float | Unavailable:
    return reading.value if isinstance(reading, Reading) else reading


def _asleep(device: DeviceState) -> bool | Unavailable:
    return NOT_TOLD if device.power_state is PowerState.UNKNOWN else device.power_state is PowerState.ASLEEP


def _why_no_heat(device: DeviceState) -> Unavailable:
    heat = device.temperature_c
    return heat if isinstance(heat, Unavailable) else NO_THERMOMETER


def _why_unbound(view: BackendView, system: SystemState) -> Reason:
    why = why_unbound(view.spec, system.devices)
    return why or Reason("no_device" if view.spec.is_local else "not_local")
