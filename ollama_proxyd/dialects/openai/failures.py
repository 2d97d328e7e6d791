"""What OpenAI-style engines say when they fail in the middle of an answer, as a ProxyError."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.wording import one_line

MAX_DETAIL_CHARS = 4000
MOST_WRAPPINGS = 5


def error_in_answer(error: Json) -> ProxyError:
    """An error object or sentence that came with status 200, in a stream or instead of an answer."""
    return ProxyError(
        ErrorKind.UPSTREAM_FAILED,
        one_line(_sentence(error) or "") or "the backend reported an error",
        detail=_detail(error),
    )


def _detail(error: Json) -> str | None:
    try:
        return msgspec.json.encode({"error": error}).decode()[:MAX_DETAIL_CHARS]
    except RecursionError:
        return None


def _sentence(error: Json, wrappings: int = MOST_WRAPPINGS) -> str | None:
    """The sentence in an error object, which some engines wrap in another."""
    if isinstance(error, str):
        return error or None
    if not isinstance(error, dict) or not wrappings:
        return None
    inner = (_sentence(error.get(key), wrappings - 1) for key in ("message", "error", "detail"))
    return next(filter(None, inner), None)
