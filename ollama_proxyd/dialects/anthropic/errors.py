"""Errors in Anthropic's form: the type goes by the status."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.errors import TOO_LONG, ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.reported import bounded, sentence
from ollama_proxyd.dialects.framing.statuses import status_of

_INVALID = "invalid_request_error"
_API = "api_error"
_TOO_LONG = "prompt is too long"
TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""What is not in it is the request's fault below 500, and the server's from there on."""


def render_error(error: ProxyError, request_id: str | None = None) -> tuple[int, bytes]:
    """The status and the body of an error that comes before the answer's first byte."""
    return status_of(error), msgspec.json.encode({**_body(error), "request_id": request_id})


def stream_error(error: ProxyError) -> bytes:
    """The error as an event."""
    return b"event: error\ndata: " + msgspec.json.encode(_body(error)) + b"\n\n"


def _body(error: ProxyError) -> dict[str, Json]:
    status = status_of(error)
    own = _engines_own(error) or {
        "type": TYPES.get(status, _INVALID if status < 500 else _API),
        "message": error.message,
    }
    return {"type": "error", "error": {**own, "message": _message(str(own["message"]), error.code)}}


def _message(said: str, code: str | None) -> str:
    """What was wrong; of a long prompt in the words by which Anthropic's clients know that they can shorten it."""
    return f"{_TOO_LONG}: {said}" if code == TOO_LONG and not said.lower().startswith(_TOO_LONG) else said


def _engines_own(error: ProxyError) -> dict[str, Json] | None:
    """What the backend said, where that is an error in Anthropic's form."""
    body = object_in(error.detail) if error.detail is not None else None
    inner = body.get("error") if body and body.get("type") == "error" else None
    is_told = isinstance(inner, dict) and all(isinstance(inner.get(name), str) for name in ("type", "message"))
    return inner if is_told else None


def error_in_answer(error: Json) -> ProxyError:
    """An error that came with status 200, in a stream or instead of an answer."""
    message = sentence(error) or "the backend reported an error"
    detail = msgspec.json.encode(bounded({"type": "error", "error": error})).decode()
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message, detail=detail)
