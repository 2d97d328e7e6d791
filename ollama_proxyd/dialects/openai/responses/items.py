"""Lists what went into a response that is kept."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.kept_responses import KeptResponse
from ollama_proxyd.dialects.framing.jsonbody import invalid_request

_MOST_LISTED = 100


def render_items(kept: KeptResponse, query: Mapping[str, str]) -> bytes:
    """The body of GET /v1/responses/{id}/input_items: a page of what went in, the latest first by default."""
    order, limit, after = query.get("order", "desc"), query.get("limit", "20"), query.get("after")
    if order not in {"asc", "desc"}:
        raise invalid_request("order must be asc or desc", "order")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= _MOST_LISTED):
        raise invalid_request(f"limit must be 1 to {_MOST_LISTED}", "limit")
    ids = list(kept.inputs) if order == "asc" else list(kept.inputs)[::-1]
    rest = ids[ids.index(after) + 1 :] if after in ids else ids
    page = rest[: int(limit)]
    body = {
        "object": "list",
        "data": [msgspec.Raw(kept.inputs[each]) for each in page],
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
        "has_more": len(page) < len(rest),
    }
    return msgspec.json.encode(body)
