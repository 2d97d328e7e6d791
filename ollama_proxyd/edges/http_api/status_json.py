"""The status as JSON: null where something is not known, with the reason under "unknown"."""

from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

from ollama_proxyd import __version__
from ollama_proxyd.core.backend_status import BackendStatus, Moment, backend_status
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.breaker import Breaker
from ollama_proxyd.core.budget import budget_fields
from ollama_proxyd.core.failings import what_fails
from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.fleet_summary import expected
from ollama_proxyd.core.holds import Hold
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.learning import CONTEXTS, Speed
from ollama_proxyd.core.modes import ModeRow, ModeSetting, ModeTable
from ollama_proxyd.core.readings import Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.status import DeviceStatus, Status, device_statuses
from ollama_proxyd.core.units import spelled
from ollama_proxyd.services.ledger import BackendTotals


def status_json(status: Status) -> dict[str, Json]:
    """Everything at one moment."""
    return {
        "version": __version__,
        **efficiency_json(status.setting, status.modes, status.holds),
        "backends": [fields_json(backend) for backend in status.backends],
        "queue": fields_json(status.queue),
        "devices": [_device(device) for device in status.devices],
        "system": _system(status.system),
        "today": fields_json(status.today),
        "budget": budget_fields(status.budget),
        "energy": [fields_json(account) for account in status.energy],
        "last_decision": None if status.last_decision is None else fields_json(status.last_decision),
        "history": fields_json(status.history),
        "power_saver": fields_json(status.power_saver),
        "unloading": fields_json(status.unloading),
        "model_sync": [fields_json(pull) for pull in status.model_sync],
        "frontends": [fields_json(frontend) for frontend in status.frontends],
    }


def fields_json(value: Any) -> dict[str, Json]:
    """A value's fields; those that may be unknown have their reasons under "unknown"."""
    told: dict[str, Json] = {}
    unknown: dict[str, Json] = {}
    for field in fields(value):
        name, part = spelled(field.name), getattr(value, field.name)
        if isinstance(part, Unavailable):
            unknown[name] = reason_fields(part.reason)
        told |= _field(name, part)
    return {**told, "unknown": unknown} if unknown or isinstance(value, _MAY_BE_UNKNOWN) else told


def efficiency_json(setting: ModeSetting, table: ModeTable, holds: Sequence[Hold]) -> dict[str, Json]:
    """The mode in force with its reason and its limits, its holds, and every mode that can be chosen."""
    return {
        "mode": setting.chosen.value,
        "effective_mode": setting.effective.value,
        **reason_fields(setting.reason),
        "in_force": fields_json(setting.row),
        "holds": [hold_json(hold) for hold in holds],
        "modes": [{"mode": mode.value, **fields_json(row)} for mode, row in table.items()],
    }


def hold_json(hold: Hold) -> dict[str, Json]:
    """What a program holds, why, and until when at the latest."""
    return {
        "mode": hold.mode.value,
        "reason": hold.reason,
        "application_id": hold.application_id,
        "ends_unix_seconds": hold.ends_unix_s,
        "until_charged": hold.until_charged,
    }


def backend_json(
    view: BackendView, system: SystemState, row: ModeRow, totals: BackendTotals, now: Moment
) -> dict[str, Json]:
    """Everything about a backend: its status, what is configured, what was learned, what it has done."""
    spec, device = view.spec, device_of(view.spec, system.devices)
    return {
        **fields_json(backend_status(view, system, row, now)),
        "kind": spec.api.value,
        "engine": spec.flavor,
        "endpoint": spec.endpoint,
        "device": None if device is None else device.id,
        "version": view.version,
        "priority": spec.priority,
        "rated_latency_ms": None if spec.profile.ttft_s is None else spec.profile.ttft_s * 1000,
        "rated_tokens_per_second": spec.profile.decode_tps,
        "price_per_million_input_tokens": None if spec.tariff is None else spec.tariff.input_price,
        "price_per_million_output_tokens": None if spec.tariff is None else spec.tariff.output_price,
        "breakers": [_breaker(each, now.monotonic_s) for each in view.breakers],
        "digests": {model.name: model.digest for model in view.models if model.digest},
        "learned": {model: _speed(speed) for model, speed in learned(view.speeds).items()},
        "totals": _totals(totals),
    }


def thermal_json(system: SystemState, fleet: FleetView) -> dict[str, Json]:
    """The machine and its devices; "status" says whether anything about heat is known."""
    is_known = isinstance(system.hottest_c, Reading) or isinstance(system.fan_percent, Reading)
    return {
        "status": "available" if is_known else "unavailable",
        **_system(system),
        "devices": [_device(device) for device in device_statuses(system, fleet)],
    }


def health_json(fleet: FleetView, within: int, now_s: float) -> dict[str, Json]:
    """Whether all expected backends can serve ("ok"), some ("degraded") or none ("down").

    `within` are those that can serve within the mode in force.
    """
    serving = [view.can_serve for view in expected(fleet)]
    is_whole = all(serving) and not any(view.reason for view in fleet if view.health is Health.UP)
    return {
        "status": ("ok" if is_whole else "degraded") if any(serving) else "down",
        "version": __version__,
        "within_mode": within,
        "backends": [
            {"id": view.spec.id, "health": view.told_health, **reason_fields(view.reason_at(now_s))} for view in fleet
        ],
    }


_MAY_BE_UNKNOWN = (BackendStatus, SystemState)


def _field(name: str, part: Any) -> dict[str, Json]:
    if name == "reason":
        return reason_fields(part)
    if isinstance(part, Reason):
        return {name: reason_fields(part)}
    if isinstance(part, Unavailable):
        return {name: None}
    if isinstance(part, Reading):
        return {name: part.value}
    return {name: part.value if isinstance(part, Enum) else part}


def _system(system: SystemState) -> dict[str, Json]:
    told = fields_json(system)
    del told["devices"]
    return told


def _device(device: DeviceStatus) -> dict[str, Json]:
    return {"unknown": {}, **fields_json(device.state), "backends": list(device.backends)}


def _breaker(breaker: Breaker, now_s: float) -> Json:
    return {
        "fault": breaker.fault.value,
        "model": breaker.model,
        "state": breaker.phase.value,
        "failures": breaker.failures,
        "pause_seconds": breaker.wait_s,
        "left_seconds": breaker.left_s(now_s),
        **reason_fields(what_fails(breaker)),
    }


def _speed(speed: Speed) -> Json:
    return {
        "ttft_ms": None if speed.ttft_s is None else speed.ttft_s * 1000,
        "tokens_per_second": speed.told_tps,
        "output_tokens": speed.output_tokens,
        "samples": speed.samples,
        "longer_prompts": [
            {
                "above_tokens": above,
                "prefill_tokens_per_second": speed.longer.get(("prefill_tps", context)),
                "tokens_per_second": speed.longer.get(("decode_tps", context)),
            }
            for context, above in enumerate(CONTEXTS, 1)
            if any(at == context for _, at in speed.longer)
        ],
    }


def _totals(totals: BackendTotals) -> Json:
    return {
        "requests": totals.requests,
        "errors": totals.failures,
        "cancelled": totals.cancelled,
        "completion_tokens": totals.completion_tokens,
        "busy_seconds": totals.busy_s,
        "energy_joules": totals.energy_j,
        "energy_source": totals.energy_source and totals.energy_source.value,
        "energy_error_joules": totals.energy_error_j,
        "money_spent": dict(totals.spent),
    }
