"""GET /requests: the last requests, newest first: what each was like, where it went, what it took; no word of it."""

from itertools import islice

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import check_keys
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.strict_json import json_reply
from ollama_proxyd.services.ledger import REMEMBERED, Outcome

DEFAULT_LIMIT = 20


async def recent(request: web.Request) -> web.Response:
    """The last requests, at most `limit`, or the one with `id`."""
    check_keys(request.query, ("id", "limit"))
    wanted, limit = request.query.get("id"), _limit(request.query.get("limit", str(DEFAULT_LIMIT)))
    outcomes = reversed(services_of(request).ledger.recent())
    found = (each for each in outcomes if wanted in {None, each.request_id})
    return json_reply([_fields(each) for each in islice(found, limit)])


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= REMEMBERED):
        message = f"limit: must be from 1 to {REMEMBERED}, which are remembered"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="limit")
    return int(text)


def _fields(outcome: Outcome) -> Json:
    decision, usage, asker = outcome.decision, outcome.usage, outcome.hints.asker
    return {
        "request_id": outcome.request_id,
        "unix_seconds": outcome.unix_s,
        "operation": outcome.operation.value,
        "application": asker.program.name or None,
        "model": outcome.model,
        "backend": outcome.backend_id,
        "mode": decision.effective_mode.value if decision else None,
        **(reason_fields(decision.reason) if decision else {"reason": None}),
        "ended": _ended(outcome),
        "attempts": outcome.attempts,
        "cached": outcome.is_cached,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "queue_wait_seconds": outcome.queue_wait_s,
        "ttft_seconds": outcome.ttft_s,
        "total_seconds": outcome.total_s,
        "energy_joules": outcome.energy_j,
    }


def _ended(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    return "ok" if outcome.error is None else outcome.error.value


ROUTES = (web.get("/requests", recent),)
