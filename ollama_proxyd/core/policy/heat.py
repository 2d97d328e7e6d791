"""What the heat of a device means for the backend that runs on it; what is unknown means nothing."""

from typing import TypeGuard

from ollama_proxyd.core.fleet import BackendSpec, BackendView
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.priors import is_known
from ollama_proxyd.core.readings import DeviceState, Reading, known
from ollama_proxyd.core.reasons import Reason

SOON_S = 30.0
"""A device that will be too hot within this time pays for it already."""
SILENT_W = 5.0
"""So many watts of one device a laptop's case sheds without its fan."""
LOUD_PERCENT = 20.0
"""A fan so much faster than the mode asks for has each joule of its device count double."""
COLDEST_C, HOTTEST_C = -100.0, 1000.0
"""What is beyond is a sensor's mistake and counts as unknown."""


def is_too_hot(view: BackendView, device: DeviceState, row: ModeRow) -> bool:
    """Whether heat keeps requests off a device in a mode, for good or while others can serve."""
    found = (mode_temperature(view, device, row), throttling(view, device), critical_heat(view, device))
    return any(each is not None for each in found)


def is_heat_known(device: DeviceState) -> bool:
    """Whether a device says how hot it is, or at least that it is throttled."""
    why_throttled = known(device.throttling)
    return bool(why_throttled) or _temperature(device) is not None


@by_identity
def heat_share(device: DeviceState, max_temp_c: float | None) -> tuple[float, Reason | None]:
    """How near a device is to being too hot: 0 (not within 30 s) to 1 (now), with a note."""
    now_c, limit_c, critical_c = _temperature(device), max_temp_c, known(device.critical_c)
    if _is_sane(critical_c) and (limit_c is None or critical_c < limit_c):
        limit_c = critical_c
    if now_c is None or limit_c is None:
        return 0.0, None
    if now_c >= limit_c:
        return 1.0, Reason("too_hot_now", temperature_celsius=now_c, limit_celsius=limit_c)
    slope = known(device.slope_c_per_s)
    if not is_known(slope) or now_c + slope * SOON_S <= limit_c:
        return 0.0, None
    left_s = (limit_c - now_c) / slope
    soon = Reason("too_hot_soon", temperature_celsius=now_c, limit_celsius=limit_c, left_seconds=left_s)
    return 1 - left_s / SOON_S, soon


@by_identity
def noise_share(
    spec: BackendSpec, device: DeviceState | None, power_w: float, price: float, max_fan_percent: float | None
) -> tuple[float, Reason | None]:
    """What a device's noise and heat add to each joule of work, with a note: its fan blows for the watts that it hears.

    Up to SILENT_W the case sheds them without a fan. Once that blows, each watt keeps it going. Above the limit of the
    mode each joule counts more, the faster the fan the more. Another machine's fan is not heard here.
    """
    if not spec.is_local or not power_w > 0:
        return 0.0, None
    fan_percent = None if device is None else known(device.fan_percent)
    is_blowing = fan_percent is not None and fan_percent > 0
    above = 0.0
    if fan_percent is not None and max_fan_percent is not None:
        above = max(fan_percent - max_fan_percent, 0.0) / LOUD_PERCENT
    loud_w = power_w if is_blowing else max(power_w - SILENT_W, 0.0)
    share = price * loud_w / power_w + above
    if not share:
        return 0.0, None
    values = {"loud_watts": loud_w, "power_watts": power_w, "fan_percent": fan_percent if is_blowing else None}
    return share, Reason("noise_counted", **values)


def mode_temperature(view: BackendView, device: DeviceState, row: ModeRow) -> Reason | None:
    """Whether a device is hotter than the mode asks for."""
    now_c, limit_c = _temperature(device), row.max_temp_c
    if now_c is None or limit_c is None or now_c <= limit_c:
        return None
    values = {"temperature_celsius": now_c, "limit_celsius": limit_c}
    return Reason("mode_temperature", backend_id=view.spec.id, mode_label=row.label, **values)


def mode_fan(view: BackendView, device: DeviceState, row: ModeRow) -> Reason | None:
    """Whether a device's fan is faster than the mode asks for."""
    percent, limit = known(device.fan_percent), row.max_fan_percent
    if percent is None or limit is None or not percent > limit:
        return None
    values = {"fan_percent": percent, "limit_percent": limit}
    return Reason("mode_fan", backend_id=view.spec.id, mode_label=row.label, **values)


def critical_heat(view: BackendView, device: DeviceState) -> Reason | None:
    """Whether more work would endanger a device."""
    now_c, critical_c = _temperature(device), known(device.critical_c)
    if now_c is None or not _is_sane(critical_c) or now_c < critical_c:
        return None
    return Reason("critical_heat", backend_id=view.spec.id, temperature_celsius=now_c, limit_celsius=critical_c)


def throttling(view: BackendView, device: DeviceState) -> Reason | None:
    """Whether a device holds itself back; that protects it, so that it may work on where it must."""
    why = known(device.throttling)
    return Reason("throttling", backend_id=view.spec.id, detail=why) if why else None


def _temperature(device: DeviceState) -> float | None:
    reading = device.temperature_c
    return reading.value if isinstance(reading, Reading) and _is_sane(reading.value) else None


def _is_sane(value: float | None) -> TypeGuard[float]:
    return is_known(value, COLDEST_C, HOTTEST_C)
