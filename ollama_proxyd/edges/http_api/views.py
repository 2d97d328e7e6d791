"""The server's own JSON pictures of backends, modes and the machine."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, Hardware, Health
from ollama_proxyd.core.holds import Hold
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import ModeSetting, ModeTable
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.services.ledger import BackendTotals, Ledger

HEAT = frozenset({"hottest_c", "fan_percent"})
"""What /thermal is about; the other readings of the machine stand beside it."""

DEVICE_FACTS = frozenset({"id", "name", "hardware", "power_state"})
"""What is not a reading of a device."""
_ASLEEP = {PowerState.ASLEEP: True, PowerState.AWAKE: False, PowerState.UNKNOWN: None}


def status_of(fleet: FleetView) -> str:
    """Whether all backends can serve ("ok"), some ("degraded") or none ("down"); disabled ones do not count."""
    wanted = [view.health is Health.UP for view in fleet if view.health is not Health.DISABLED]
    is_whole = all(wanted) and not any(view.degraded for view in fleet)
    if not any(wanted):
        return "down"
    return "ok" if is_whole else "degraded"


def health_of(view: BackendView) -> Json:
    """A backend's health and the reason for it."""
    return {"id": view.spec.id, "health": view.health.value, **reason_fields(view.reason)}


def backend_of(view: BackendView, ledger: Ledger, devices: Sequence[DeviceState]) -> Json:
    """Everything that is known of a backend; null where nobody said."""
    spec = view.spec
    device = device_of(spec, tuple(devices))
    loaded = None if view.loaded is None else [model.name for model in view.loaded]
    return {
        "id": spec.id,
        "name": spec.name,
        "kind": spec.api.value,
        "flavor": spec.flavor,
        "endpoint": spec.endpoint,
        "hardware": spec.hardware.value,
        "hardware_note": _hardware_note(spec),
        "device": None if device is None else device.id,
        "asleep": None if device is None else _ASLEEP[device.power_state],
        "health": view.health.value,
        **reason_fields(view.reason),
        "version": view.version,
        "models": [model.name for model in view.models],
        "loaded": loaded,
        "in_flight": view.in_flight,
        "slots": view.slots,
        "priority": spec.priority,
        **_configured(spec),
        "learned": {model: _speed(speed) for model, speed in view.speeds.items()},
        "totals": _totals(ledger.totals(spec.id)),
    }


def efficiency(setting: ModeSetting, table: ModeTable, holds: Sequence[Hold]) -> Json:
    """The mode in force with its reason and its limits, who holds one, and every mode that can be chosen."""
    return {
        "mode": setting.chosen.value,
        "effective_mode": setting.effective.value,
        **reason_fields(setting.reason),
        "in_force": asdict(setting.row),
        "holds": [
            {"mode": hold.mode.value, "reason": hold.reason, "application_id": hold.application_id} for hold in holds
        ],
        "modes": [{"mode": mode.value, **asdict(row)} for mode, row in table.items()],
    }


def machine(system: SystemState, fleet: FleetView) -> Json:
    """The readings of the machine and of its devices; "status" says whether anything about heat is known."""
    items = {field.name: getattr(system, field.name) for field in fields(system) if field.name != "devices"}
    return {
        "status": _heat_status(items[name] for name in sorted(HEAT)),
        **{name: _reading(item) for name, item in items.items()},
        "devices": [_device(device, system.devices, fleet) for device in system.devices],
    }


def _device(device: DeviceState, devices: tuple[DeviceState, ...], fleet: FleetView) -> Json:
    """A device's readings, and which backends run on it."""
    readings = (field.name for field in fields(device) if field.name not in DEVICE_FACTS)
    return {
        "id": device.id,
        "name": device.name,
        "hardware": device.hardware.value,
        "power_state": device.power_state.value,
        "backends": [view.spec.id for view in fleet if device_of(view.spec, devices) is device],
        **{name: _reading(getattr(device, name)) for name in readings},
    }


def _heat_status(readings: Iterable[object]) -> str:
    return "available" if any(isinstance(reading, Reading) for reading in readings) else "unavailable"


def _reading(item: Json) -> Json:
    if isinstance(item, Reading):
        return {"status": "available", "value": item.value}
    return {"status": "unavailable", **reason_fields(item.reason)}


def _hardware_note(spec: BackendSpec) -> str | None:
    if spec.hardware is not Hardware.UNKNOWN:
        return None
    return "unknown until it is configured; its speed is learned from its answers"


def _configured(spec: BackendSpec) -> dict[str, Json]:
    """The priors, under the names that the configuration has for them."""
    profile = spec.profile
    return {
        "power_watts": profile.power_w,
        "avg_latency_ms": None if profile.ttft_s is None else profile.ttft_s * 1000,
        "max_tokens_per_second": profile.decode_tps,
    }


def _speed(speed: Speed) -> Json:
    return {
        "ttft_ms": None if speed.ttft_s is None else _rounded(speed.ttft_s * 1000),
        "tokens_per_second": _rounded(speed.decode_tps),
        "output_tokens": _rounded(speed.output_tokens),
        "samples": speed.samples,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _totals(totals: BackendTotals) -> Json:
    return {
        "requests": totals.requests,
        "failures": totals.failures,
        "cancelled": totals.cancelled,
        "completion_tokens": totals.completion_tokens,
        "busy_s": round(totals.busy_s, 3),
        "energy_j": round(totals.energy_j, 3),
        "energy_is": "estimated from watts and time",
    }
