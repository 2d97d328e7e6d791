"""The HTTP status of each failure, the same in every dialect."""

from collections.abc import Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError

STATUSES: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.UNSUPPORTED: 400,
    ErrorKind.UNAUTHORIZED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.ROUTE_NOT_FOUND: 404,
    ErrorKind.BACKEND_NOT_FOUND: 404,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.LIMIT_UNMET: 422,
    ErrorKind.NO_ROOM: 507,
    ErrorKind.UPSTREAM_REJECTED: 400,
    ErrorKind.UPSTREAM_FAILED: 502,
    ErrorKind.UPSTREAM_TIMEOUT: 504,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.INTERNAL: 500,
}

STATUS_OF_CODE: Mapping[str | None, int] = {
    "unsupported_media_type": 415,
    "body_timeout": 408,
    "expectation_failed": 417,
    "header_too_long": 431,
    "target_too_long": 414,
    "upgrade_required": 426,
}
"""Where HTTP itself has a status that says more than the kind does."""

_ASKS_FOR_PATIENCE: Mapping[int | None, ErrorKind] = {
    429: ErrorKind.OVERLOADED,
    503: ErrorKind.UNAVAILABLE,
    529: ErrorKind.UNAVAILABLE,  # so Anthropic says that it is overloaded
}


def told_kind(error: ProxyError) -> ErrorKind:
    """The kind that a client is told: a backend that asks for patience is told like a server that does."""
    if error.kind is ErrorKind.UPSTREAM_FAILED:
        return _ASKS_FOR_PATIENCE.get(error.status, error.kind)
    return error.kind


NOT_IMPLEMENTED = 501
_REFUSED_FOR_GOOD: Mapping[int, int] = {429: 402, NOT_IMPLEMENTED: NOT_IMPLEMENTED}
"""A 429 that waiting does not cure speaks of credit; clients would ask again after the status itself."""


def status_of(error: ProxyError) -> int:
    """The status of an error; a backend's own one is kept only where it speaks of the request."""
    own = error.status
    if error.kind is ErrorKind.UPSTREAM_REJECTED and own is not None:
        own = _REFUSED_FOR_GOOD.get(own, own)
        if 400 <= own < 500 or own == NOT_IMPLEMENTED:
            return own
    return STATUSES[told_kind(error)]
