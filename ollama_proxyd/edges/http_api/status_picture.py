"""The whole status as one JSON object: null where something is not known, with the reason under "unknown"."""

from collections.abc import Mapping
from dataclasses import fields

from ollama_proxyd import __version__
from ollama_proxyd.core.backend_now import BackendNow, backend_now
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.readings import DeviceState, Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.views import DEVICE_FACTS, efficiency
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ledger import Day, Ledger, Outcome

ESTIMATED = "estimated from watts and time"
REFUSED = Reason("refused_before_routing")


def status_picture(services: Services) -> dict[str, Json]:
    """Everything that a person asks of the daemon at one moment."""
    governor, fleet, system = services.governor, services.fleet.views.value, services.system.value
    setting = governor.setting.value
    return {
        "version": __version__,
        **efficiency(setting, governor.table, governor.holds.value),
        "backends": [backend_picture(view, system, setting.row) for view in fleet],
        "devices": [_device(device, system, fleet) for device in system.devices],
        "system": _plain(system, {"devices"}),
        "today": _today(services.ledger.today),
        "last_decision": _last(services.ledger),
    }


def backend_picture(view: BackendView, system: SystemState, row: ModeRow) -> dict[str, Json]:
    """What one backend does now, judged by the mode in force."""
    spec, now = view.spec, backend_now(view, system, row)
    return {
        "id": spec.id,
        "name": spec.name,
        "hardware": spec.hardware.value,
        "state": view.health.value,
        **reason_fields(view.reason),
        "enabled": view.health is not Health.DISABLED,
        "models": [model.name for model in view.models],
        "in_flight": view.in_flight,
        "rated_power_watts": spec.profile.power_w,
        **_known({field.name: getattr(now, field.name) for field in fields(BackendNow)}),
    }


def _device(device: DeviceState, system: SystemState, fleet: FleetView) -> Json:
    """A device's readings, and which backends run on it."""
    return {
        "id": device.id,
        "name": device.name,
        "hardware": device.hardware.value,
        "power_state": device.power_state.value,
        "backends": [view.spec.id for view in fleet if device_of(view.spec, system.devices) is device],
        **_plain(device, DEVICE_FACTS),
    }


def _plain(state: SystemState | DeviceState, without: set[str] | frozenset[str]) -> dict[str, Json]:
    """The readings of a state by their names."""
    return _known({field.name: getattr(state, field.name) for field in fields(state) if field.name not in without})


def _known(parts: Mapping[str, Json]) -> dict[str, Json]:
    """Each part as a value or null, and the reasons for the nulls."""
    values = {name: part.value if isinstance(part, Reading) else part for name, part in parts.items()}
    reasons = {name: reason_fields(part.reason) for name, part in parts.items() if isinstance(part, Unavailable)}
    return {**values, **dict.fromkeys(reasons), "unknown": reasons}


def _today(day: Day) -> Json:
    """The sums of the day; what was saved is there only where something could be compared."""
    saved = {"saved_joules": day.saved_j, "compared": day.compared} if day.compared else {}
    return {
        "requests": day.requests,
        "errors": day.failures,
        "prompt_tokens": day.prompt_tokens,
        "completion_tokens": day.completion_tokens,
        "energy_joules": day.energy_j,
        "energy_is": ESTIMATED,
        **saved,
    }


def _last(ledger: Ledger) -> Json:
    """The last request that was routed or refused: where it went, why, what it was expected to cost, how it ended."""
    routed = ledger.last_routed
    if routed is None:
        return None
    decision = routed.decision
    told: dict[str, Json] = {
        "unix_s": routed.unix_s,
        "backend": routed.backend_id,
        **reason_fields(REFUSED if decision is None else decision.reason),
        "ended": next(
            (_ended(each) for each in reversed(ledger.recent()) if each.request_id == routed.request_id), None
        ),
    }
    if decision is not None:
        told |= {"mode": decision.mode.value, "effective_mode": decision.effective_mode.value}
        told |= next((_estimates(each) for each in decision.ranked if each.backend_id == routed.backend_id), {})
    if routed.instead is not None and not routed.instead.is_same:
        instead = routed.instead.instead
        told |= {"instead_of": instead.backend_id, "instead_of_joules": instead.energy_j}
    return told


def _estimates(each: Ranked) -> dict[str, Json]:
    """What was expected of the backend that was chosen."""
    return {
        "model": each.model,
        "power_watts": each.power_w,
        "latency_ms": each.latency_ms,
        "energy_joules": each.energy_j,
    }


def _ended(outcome: Outcome) -> str:
    """ok, cancelled, or the kind of error."""
    if outcome.cancelled:
        return "cancelled"
    return "ok" if outcome.error is None else outcome.error.value
