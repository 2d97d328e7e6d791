"""The response headers that say where a request went and what that was expected to cost."""

import unicodedata
from collections.abc import Iterable

from ollama_proxyd.core.policy.decision import Decision, Ranked

BACKEND_USED = "X-Backend-Used"
ROUTING_REASON = "X-Routing-Reason"
ESTIMATED_LATENCY = "X-Estimated-Latency-Ms"
ESTIMATED_POWER = "X-Estimated-Power-W"
ESTIMATED_ENERGY = "X-Estimated-Energy-J"
ALTERNATIVES = "X-Alternatives"
IGNORED_FIELDS = "X-Ignored-Fields"

NAMES = (BACKEND_USED, ROUTING_REASON, ESTIMATED_LATENCY, ESTIMATED_POWER, ESTIMATED_ENERGY, ALTERNATIVES)

NONE = "none"
UNKNOWN = "unknown"
MOST_CHARACTERS = 512
"""Clients bound the size of headers; a longer text is cut."""

_PLAIN = str.maketrans({"°": " ", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2019": "'"})
"""Signs that have a plain form which Unicode does not know: dashes, times, the apostrophe."""


def routed(decision: Decision, backend_id: str | None, ignored_fields: Iterable[str] = ()) -> dict[str, str]:
    """The headers of a request for which a decision was made; `backend_id` None when no backend was tried."""
    used = next((ranked for ranked in decision.ranked if ranked.backend_id == backend_id), None)
    headers = {
        BACKEND_USED: NONE if backend_id is None else header_text(backend_id),
        ROUTING_REASON: header_text(str(decision.reason)),
        **_estimates(used),
        ALTERNATIVES: _others(decision, backend_id),
    }
    ignored = ", ".join(ignored_fields)
    if ignored:
        headers[IGNORED_FIELDS] = header_text(ignored)
    return headers


def unrouted(why: str, backend_id: str | None = None) -> dict[str, str]:
    """The headers of an answer that no decision was made for."""
    return {
        BACKEND_USED: NONE if backend_id is None else header_text(backend_id),
        ROUTING_REASON: header_text(f"not routed: {why}"),
        **_estimates(None),
        ALTERNATIVES: NONE,
    }


def header_text(text: str) -> str:
    """The text as one line of printable ASCII, cut where it is too long."""
    if not (text.isascii() and text.isprintable()):
        parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
        plain = "".join(each if each.isprintable() else " " for each in parts if not unicodedata.combining(each))
        text = " ".join(plain.encode("ascii", "replace").decode("ascii").split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def _estimates(used: Ranked | None) -> dict[str, str]:
    if used is None:
        return {ESTIMATED_LATENCY: UNKNOWN, ESTIMATED_POWER: UNKNOWN, ESTIMATED_ENERGY: UNKNOWN}
    return {
        ESTIMATED_LATENCY: f"{used.latency_ms:.0f}",
        ESTIMATED_POWER: f"{used.power_w:.1f}",
        ESTIMATED_ENERGY: f"{used.energy_j:.2f}",
    }


def _others(decision: Decision, backend_id: str | None) -> str:
    others = (ranked.backend_id for ranked in decision.ranked if ranked.backend_id != backend_id)
    return header_text(",".join(others)) or NONE
