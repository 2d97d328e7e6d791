"""What OpenAI-style engines say when they fail in the middle of an answer, as a ProxyError."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

MAX_DETAIL_CHARS = 4000


def error_in_answer(error: Json) -> ProxyError:
    """An error object or sentence that came with status 200, in a stream or instead of an answer."""
    return ProxyError(
        ErrorKind.UPSTREAM_FAILED,
        _sentence(error) or "the backend reported an error",
        detail=msgspec.json.encode(error).decode()[:MAX_DETAIL_CHARS],
    )


def _sentence(error: Json) -> str | None:
    """The sentence in an error object, which some engines wrap in another."""
    if isinstance(error, str):
        return error or None
    if isinstance(error, dict):
        return _sentence(error.get("message")) or _sentence(error.get("error")) or _sentence(error.get("detail"))
    return None
