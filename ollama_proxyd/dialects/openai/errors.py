"""Errors in OpenAI's form: an engine's own where it has that form, else ours by a table of types and codes."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.errors import TOO_LONG, ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.reported import bounded, sentence
from ollama_proxyd.dialects.framing.statuses import status_of, told_kind

INVALID = "invalid_request_error"
NOT_FOUND = "not_found_error"
API = "api_error"

TABLE: Mapping[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.INVALID_REQUEST: (INVALID, None),
    ErrorKind.UNSUPPORTED: (INVALID, "unsupported_parameter"),
    ErrorKind.UNAUTHORIZED: ("authentication_error", "invalid_api_key"),
    ErrorKind.FORBIDDEN: ("permission_error", "forbidden"),
    ErrorKind.ROUTE_NOT_FOUND: (NOT_FOUND, "route_not_found"),
    ErrorKind.BACKEND_NOT_FOUND: (NOT_FOUND, "backend_not_found"),
    ErrorKind.MODEL_NOT_FOUND: (NOT_FOUND, None),
    ErrorKind.METHOD_NOT_ALLOWED: (INVALID, "method_not_allowed"),
    ErrorKind.TOO_LARGE: (INVALID, "request_too_large"),
    ErrorKind.OVERLOADED: ("rate_limit_error", "overloaded"),
    ErrorKind.LIMIT_UNMET: (INVALID, "limit_unmet"),
    ErrorKind.NO_ROOM: (API, "insufficient_memory"),
    ErrorKind.UPSTREAM_REJECTED: (INVALID, None),
    ErrorKind.UPSTREAM_FAILED: (API, "upstream_failed"),
    ErrorKind.UPSTREAM_TIMEOUT: (API, "upstream_timeout"),
    ErrorKind.UNAVAILABLE: (API, "unavailable"),
    ErrorKind.INTERNAL: (API, "internal_error"),
}
"""Type and code of each kind; an error's own code comes first."""


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """The status and the body of an error that comes before the answer's first byte."""
    own = _engines_own(error)
    if error.detail is not None and own is not None:
        told = error.detail.encode() if error.code != TOO_LONG else msgspec.json.encode(own)
        return status_of(error), told
    return status_of(error), msgspec.json.encode(_ours(error))


def stream_error(error: ProxyError) -> bytes:
    """The error as a server-sent event."""
    return b"data: " + msgspec.json.encode(_engines_own(error) or _ours(error)) + b"\n\n"


def _ours(error: ProxyError) -> dict[str, Json]:
    kind, code = TABLE[told_kind(error)]
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code or code}}


def _engines_own(error: ProxyError) -> dict[str, Json] | None:
    """What the backend said, where that is an error in OpenAI's form."""
    if error.detail is None:
        return None
    body = object_in(error.detail)
    inner = body.get("error") if body else None
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        return None
    # agents shorten their conversation by this code alone, and engines have numbers or none in its place
    return {**(body or {}), "error": {**inner, "code": TOO_LONG}} if error.code == TOO_LONG else body


def error_in_answer(error: Json) -> ProxyError:
    """An error object or sentence that came with status 200, in a stream or instead of an answer."""
    while isinstance(error, dict) and set(error) == {"error"}:
        error = error["error"]
    said = sentence(error)
    detail = msgspec.json.encode(bounded({"error": error})).decode() if said else None
    return ProxyError(ErrorKind.UPSTREAM_FAILED, said or "the backend reported an error", detail=detail)


def not_openai() -> ProxyError:
    """The failure of an answer of which nothing can be read; its words may be the conversation's."""
    return ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer is not in OpenAI's form")
