"""Errors that an engine reports inside an answer: what they say, in a form that can be shown."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.text import sanitize_line

MOST_WRAPPINGS = 5
_MOST_MEMBERS = 20
MOST_ERROR_BYTES = 4 * 1024
"""Of an error as JSON; what clients are told is a sentence and a few facts."""


def is_reported(error: Json, wrappings: int = MOST_WRAPPINGS) -> bool:
    """Whether an error field reports anything: null, "", 0, false and objects of these do not."""
    if isinstance(error, Mapping) and wrappings:
        return any(is_reported(each, wrappings - 1) for each in error.values())
    return bool(error)


def sentence(error: Json, wrappings: int = MOST_WRAPPINGS) -> str | None:
    """The sentence in an error, in one line; some engines wrap it in another."""
    if isinstance(error, str):
        return sanitize_line(error) or None
    if not isinstance(error, Mapping) or not wrappings:
        return None
    inner = (sentence(error.get(key), wrappings - 1) for key in ("message", "error", "detail"))
    return next(filter(None, inner), None)


def shown(error: Json, wrappings: int = MOST_WRAPPINGS) -> Json:
    """The error cut to what can be shown: texts in one line, few members, few levels."""
    if isinstance(error, str):
        return sanitize_line(error)
    if isinstance(error, Mapping):
        members = list(error.items())[:_MOST_MEMBERS] if wrappings else ()
        return {sanitize_line(name): shown(value, wrappings - 1) for name, value in members}
    if isinstance(error, list):
        return [shown(each, wrappings - 1) for each in error[:_MOST_MEMBERS]] if wrappings else []
    return error


def bounded(body: Json) -> Json:
    """An error's body as far as it can be shown: where that is long, its sentence and its names."""
    seen = shown(body)
    if len(msgspec.json.encode(seen)) <= MOST_ERROR_BYTES:
        return seen
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return {"error": sentence(body)}
    return {"error": {"message": sentence(error), **{name: shown(error.get(name), 0) for name in ("type", "code")}}}
