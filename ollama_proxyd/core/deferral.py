"""Whether a request that may wait for the charger waits, and how that ended, in words."""

from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.readings import Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.values import replace

DEFAULT_WAIT_S = 3600.0
"""How long at most, where the request does not say."""


def longest_wait_s(hints: Hints) -> float:
    """How long a request waits for the charger at most."""
    return DEFAULT_WAIT_S if hints.defer_max_wait_seconds is None else hints.defer_max_wait_seconds


def why_not_deferred(system: SystemState) -> Reason | None:
    """Why a request goes at once, None where it waits: only a battery that is in use is worth it."""
    on_battery = system.on_battery
    if not isinstance(on_battery, Reading):
        return Reason("defer_unknown", reason=on_battery.reason)
    if on_battery.value:
        return None
    has_battery = not isinstance(system.battery_percent, Unavailable)
    return Reason("defer_on_charger" if has_battery else "defer_no_battery")


def outlook(hints: Hints, system: SystemState) -> Reason | None:
    """What would become of a request before it is routed; None for one that waits for no charger."""
    if hints.defer is None:
        return None
    return why_not_deferred(system) or Reason("defer_waits", limit_seconds=longest_wait_s(hints))


def after_wait(decision: Decision, deferral: Reason | None) -> Decision:
    """The decision, with what its request waited for before it."""
    if deferral is None:
        return decision
    return replace(decision, reason=Reason("deferred", reason=decision.reason, cause=deferral))
