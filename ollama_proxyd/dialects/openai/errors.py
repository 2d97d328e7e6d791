"""Errors in OpenAI's form: one table from kinds to statuses, types and codes."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

INVALID = "invalid_request_error"
NOT_FOUND = "not_found_error"
API = "api_error"

TABLE: Mapping[ErrorKind, tuple[int, str, str | None]] = {
    ErrorKind.INVALID_REQUEST: (400, INVALID, None),
    ErrorKind.UNSUPPORTED: (400, INVALID, "unsupported_parameter"),
    ErrorKind.UNAUTHORIZED: (401, "authentication_error", "invalid_api_key"),
    ErrorKind.FORBIDDEN: (403, "permission_error", "forbidden"),
    ErrorKind.ROUTE_NOT_FOUND: (404, NOT_FOUND, "route_not_found"),
    ErrorKind.BACKEND_NOT_FOUND: (404, NOT_FOUND, "backend_not_found"),
    ErrorKind.MODEL_NOT_FOUND: (404, NOT_FOUND, None),
    ErrorKind.METHOD_NOT_ALLOWED: (405, INVALID, "method_not_allowed"),
    ErrorKind.TOO_LARGE: (413, INVALID, "request_too_large"),
    ErrorKind.OVERLOADED: (429, "rate_limit_error", "overloaded"),
    ErrorKind.UPSTREAM_REJECTED: (400, INVALID, None),
    ErrorKind.UPSTREAM_FAILED: (502, API, "upstream_failed"),
    ErrorKind.UPSTREAM_TIMEOUT: (504, API, "upstream_timeout"),
    ErrorKind.UNAVAILABLE: (503, API, "unavailable"),
    ErrorKind.INTERNAL: (500, API, "internal_error"),
}
"""Status, type and code of each kind; an error's own code, and the status of a backend that rejected, come first."""


def status_of(error: ProxyError) -> int:
    """The HTTP status of an error."""
    rejected = error.kind is ErrorKind.UPSTREAM_REJECTED and error.status is not None
    return error.status if rejected and error.status else TABLE[error.kind][0]


def error_body(error: ProxyError) -> dict[str, Json]:
    """The error as OpenAI's object."""
    _, kind, code = TABLE[error.kind]
    fields = {"message": error.message, "type": kind, "param": error.param, "code": error.code or code}
    return {"error": fields}


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """The status and the body of an error that comes before the answer's first byte."""
    return status_of(error), msgspec.json.encode(error_body(error))
