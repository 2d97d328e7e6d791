"""Anthropic's list of models."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import invalid_request

ModelRow = tuple[str, int, Sequence[str]]
"""A model's name, the Unix time in seconds of its making, and the ids of the backends that hold it."""

_MOST = 1000


def render_list(rows: Sequence[ModelRow], limit: str | None, after: str | None, before: str | None) -> bytes:
    """The body of GET /v1/models: the page after or before a model, all of them without a limit."""
    most = _MOST if limit is None else _limit(limit)
    ids = [name for name, *_ in rows]
    first = ids.index(after) + 1 if after in ids else 0
    last = ids.index(before) if before in ids else len(rows)
    if before in ids and after not in ids:
        first = max(first, last - most)
    page = rows[first:last][:most]
    has_more = first > 0 if before in ids else first + len(page) < last
    body = {
        "data": [_model(row) for row in page],
        "has_more": has_more,
        "first_id": page[0][0] if page else None,
        "last_id": page[-1][0] if page else None,
    }
    return msgspec.json.encode(body)


def render_one(row: ModelRow) -> bytes:
    """The body of GET /v1/models/{id}."""
    return msgspec.json.encode(_model(row))


def render_count(tokens: int) -> bytes:
    """The body of POST /v1/messages/count_tokens."""
    return msgspec.json.encode({"input_tokens": tokens})


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= _MOST):
        raise invalid_request(f"limit must be 1 to {_MOST}", "limit")
    return int(text)


def _model(row: ModelRow) -> dict[str, Json]:
    name, created, backends = row
    made_at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {"type": "model", "id": name, "display_name": name, "created_at": made_at, "lifecycle": "active"}
    return {**known, "backends": list(backends)}
