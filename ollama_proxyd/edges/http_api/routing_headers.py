"""The response headers that say where a request went and what that was expected to cost."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.routed import Routed

BACKEND_USED = "X-Backend-Used"
ROUTING_REASON = "X-Routing-Reason"
ESTIMATED_LATENCY = "X-Estimated-Latency-Ms"
ESTIMATED_POWER = "X-Estimated-Power-W"
ESTIMATED_ENERGY = "X-Estimated-Energy-J"
ALTERNATIVES = "X-Alternatives"
IGNORED_FIELDS = "X-Ignored-Fields"
QUEUE_WAIT = "X-Queue-Wait-Ms"
ENERGY = "X-Energy-Joules"
ENERGY_SOURCE = "X-Energy-Source"
ENERGY_ERROR = "X-Energy-Error-Percent"
QUEUE_PLACE = "X-Queue-Place"
DEFERRED = "X-Deferred-Ms"
CACHE = "X-Cache"
FRONTEND = "X-Frontend"

NAMES = (BACKEND_USED, ROUTING_REASON, ESTIMATED_LATENCY, ESTIMATED_POWER, ESTIMATED_ENERGY, ALTERNATIVES)

COSTS = (ENERGY, ENERGY_SOURCE, ENERGY_ERROR)

OTHERS = (QUEUE_WAIT, IGNORED_FIELDS, FRONTEND, *COSTS)

NONE = "none"
UNKNOWN = "unknown"
MOST_CHARACTERS = 512
"""Clients bound the size of headers; a longer text is cut."""

_PLAIN = str.maketrans({"°": " ", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2019": "'"})
"""Signs that have a plain form which Unicode does not know: dashes, times, the apostrophe."""


def answered(first: Routed) -> dict[str, str]:
    """The headers of an answer that has begun."""
    headers = routed(first.decision, first.backend_id, first.ignored_fields)
    headers[QUEUE_WAIT] = f"{first.queue_wait_s * 1000:.0f}"
    if first.queue_place is not None:
        headers[QUEUE_PLACE] = str(first.queue_place)
    if first.deferred_s is not None:
        headers[DEFERRED] = f"{first.deferred_s * 1000:.0f}"
    if first.is_hit is not None:
        headers[CACHE] = "hit" if first.is_hit else "miss"
    return headers


def cost(energy: Energy | None) -> dict[str, str]:
    """The fields of an answer that has ended: what it cost, from where that is known, and how far it may be wrong."""
    if energy is None:
        return {}
    error = str(energy.error_percent)
    return {ENERGY: f"{energy.total_j:.2f}", ENERGY_SOURCE: energy.source._value_, ENERGY_ERROR: error}


def routed(decision: Decision, backend_id: str | None, ignored_fields: Iterable[str] = ()) -> dict[str, str]:
    """The headers of a request for which a decision was made; `backend_id` None when no backend was tried."""
    ranked = decision.ranked
    used = ranked[0] if ranked and ranked[0].backend_id == backend_id else _of(ranked, backend_id)
    others = decision.named_alternatives(backend_id) if len(ranked) > 1 or used is None else ()
    headers = _headers(backend_id, str(decision.reason), used, _listed(others) if others else NONE)
    if ignored := ", ".join(ignored_fields):
        headers[IGNORED_FIELDS] = header_text(ignored)
    return headers


def _of(ranked: Iterable[Ranked], backend_id: str | None) -> Ranked | None:
    return next((each for each in ranked if each.backend_id == backend_id), None)


def unrouted(why: str, backend_id: str | None = None) -> dict[str, str]:
    """The headers of an answer that no decision was made for."""
    return _headers(backend_id, f"not routed: {why}")


@lru_cache(maxsize=256)
def _listed(backend_ids: tuple[str, ...]) -> str:
    return header_text(",".join(backend_ids))


def _headers(backend_id: str | None, reason: str, used: Ranked | None = None, others: str = NONE) -> dict[str, str]:
    return {
        BACKEND_USED: header_text(backend_id or NONE),
        ROUTING_REASON: header_text(reason),
        ESTIMATED_LATENCY: f"{used.latency_ms:.0f}" if used else UNKNOWN,
        ESTIMATED_POWER: f"{used.power_w:.1f}" if used else UNKNOWN,
        ESTIMATED_ENERGY: f"{used.energy_j:.2f}" if used else UNKNOWN,
        ALTERNATIVES: others,
    }


def header_text(text: str) -> str:
    """The text as one line of printable ASCII, cut where it is too long."""
    if not (text.isascii() and text.isprintable()):
        parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
        plain = "".join(each if each.isprintable() else " " for each in parts if not unicodedata.combining(each))
        text = " ".join(plain.encode("ascii", "replace").decode("ascii").split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."
