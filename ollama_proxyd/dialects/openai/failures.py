"""What OpenAI-style engines say when they fail, as one ProxyError."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.openai.frames import UNREADABLE

MAX_DETAIL_CHARS = 4000

_REJECTED = frozenset({400, 405, 406, 409, 411, 413, 414, 415, 416, 422})
"""Statuses by which an engine says that the request itself is at fault."""


def error_in_answer(error: Json) -> ProxyError:
    """An error object or sentence that came with status 200, in a stream or instead of an answer."""
    return ProxyError(
        ErrorKind.UPSTREAM_FAILED,
        _sentence(error) or "the backend reported an error",
        detail=msgspec.json.encode(error).decode()[:MAX_DETAIL_CHARS],
    )


def decode_error(status: int, body: bytes) -> ProxyError:
    """An answer with a status other than 2xx: rejected where the request is at fault, else failed."""
    text = body.decode(errors="replace")[:MAX_DETAIL_CHARS]
    try:
        said = _sentence(msgspec.json.decode(body))
    except UNREADABLE:
        said = text.strip() if len(text) < 200 and not text.lstrip().startswith("<") else None
    kind = ErrorKind.UPSTREAM_REJECTED if status in _REJECTED else ErrorKind.UPSTREAM_FAILED
    return ProxyError(kind, said or f"the backend answered {status}", status=status, detail=text)


def _sentence(error: Json) -> str | None:
    """The sentence in the many shapes of error objects."""
    if isinstance(error, str):
        return error or None
    if isinstance(error, list):
        return next((found for item in error if (found := _sentence(item))), None)
    if isinstance(error, dict):
        return next(
            (found for key in ("error", "message", "detail", "msg") if (found := _sentence(error.get(key)))), None
        )
    return None
