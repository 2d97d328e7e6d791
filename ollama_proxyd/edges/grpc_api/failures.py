"""Errors as gRPC tells them: a status code, a sentence, and for programs the finer code as trailing metadata."""

from collections.abc import Mapping
from typing import Any, NoReturn

from grpc import StatusCode

from ollama_proxyd.core.errors import DEADLINE_EXCEEDED, ErrorKind, ProxyError
from ollama_proxyd.core.routed import RoutedError

CODES: Mapping[ErrorKind, StatusCode] = {
    ErrorKind.INVALID_REQUEST: StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNSUPPORTED: StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHORIZED: StatusCode.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    ErrorKind.ROUTE_NOT_FOUND: StatusCode.UNIMPLEMENTED,
    ErrorKind.BACKEND_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorKind.MODEL_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorKind.METHOD_NOT_ALLOWED: StatusCode.UNIMPLEMENTED,
    ErrorKind.TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.LIMIT_UNMET: StatusCode.FAILED_PRECONDITION,
    ErrorKind.NO_ROOM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UPSTREAM_REJECTED: StatusCode.INVALID_ARGUMENT,
    ErrorKind.UPSTREAM_FAILED: StatusCode.UNAVAILABLE,
    ErrorKind.UPSTREAM_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorKind.INTERNAL: StatusCode.INTERNAL,
}

HINTS: Mapping[str, str] = {
    "power_efficient": "prefer_power_efficiency",
    "deadline_ms": "deadline_unix_ms",
    "messages": "prompt",
    "num_ctx": "context_length",
    "input": "text",
}
"""What the fields of requests are called here."""


async def abort(context: Any, error: ProxyError) -> NoReturn:
    """End a call with an error; always raises."""
    told = error.named(HINTS)
    trailers = [("x-error-code", told.code or told.kind.value)]
    if isinstance(error, RoutedError) and error.backend_id is not None:
        trailers.append(("x-backend-used", error.backend_id))
    if told.wait_s is not None:
        trailers.append(("grpc-retry-pushback-ms", str(round(told.wait_s * 1000))))
    code = StatusCode.DEADLINE_EXCEEDED if told.code == DEADLINE_EXCEEDED else CODES[told.kind]
    await context.abort(code, told.message, tuple(trailers))
    raise AssertionError("abort always raises")
