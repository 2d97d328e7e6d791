"""What the gateway is told, as messages of external processing, written out."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.base import Dialect
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.services.carried import Picked

ENDPOINT_KEY: Final = "x-gateway-destination-endpoint"
ENDPOINT_NAMESPACE: Final = "envoy.lb"
MOST_DESTINATIONS: Final = 1024
PIECE_BYTES: Final = 62 * 1024
"""Envoy recommends at most 64 KiB a message."""
STATUSES: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.UNSUPPORTED: 400,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.INTERNAL: 500,
}
"""The client's own fault, and what the protocol has a status for; all else is 503, no endpoint is ready."""
_OVERWRITE: Final = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD

_UNCHANGED: Final[Mapping[str, Any]] = {
    "request_headers": pb.ProcessingResponse(request_headers=pb.HeadersResponse()),
    "request_body": pb.ProcessingResponse(request_body=pb.BodyResponse()),
    "request_trailers": pb.ProcessingResponse(request_trailers=pb.TrailersResponse()),
    "response_headers": pb.ProcessingResponse(response_headers=pb.HeadersResponse()),
    "response_body": pb.ProcessingResponse(response_body=pb.BodyResponse()),
    "response_trailers": pb.ProcessingResponse(response_trailers=pb.TrailersResponse()),
}
NOTHING_CHANGED: Final[Mapping[str, bytes]] = {part: each.SerializeToString() for part, each in _UNCHANGED.items()}


def destination(picked: Picked, part: str) -> bytes:
    """Where the request goes, in the header and in the metadata alike, as the answer to a part of it."""
    return _destination(",".join(picked.addresses), part)


@lru_cache(MOST_DESTINATIONS)
def _destination(addresses: str, part: str) -> bytes:
    change = pb.CommonResponse(header_mutation=_headers({ENDPOINT_KEY: addresses}), clear_route_cache=True)
    made = pb.HeadersResponse if part == "request_headers" else pb.BodyResponse
    told = pb.ProcessingResponse(**{part: made(response=change)})
    told.dynamic_metadata.fields[ENDPOINT_NAMESPACE].struct_value.fields[ENDPOINT_KEY].string_value = addresses
    return _written(told)


def answered_by(picked: Picked, backend_id: str | None) -> bytes:
    """The head of an answer, with the backend that gave it, where that is known, and why the first one was picked."""
    headers = {} if backend_id is None else {"x-backend-used": backend_id}
    headers["x-routing-reason"] = _line(str(picked.decision.reason))
    change = pb.CommonResponse(header_mutation=_headers(headers))
    return _written(pb.ProcessingResponse(response_headers=pb.HeadersResponse(response=change)))


def refused(error: ProxyError, dialect: Dialect) -> bytes:
    """An error in the client's words, in place of an answer."""
    headers = {"content-type": dialect.whole_type}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(round(error.retry_after_s), 1))
    told = pb.ImmediateResponse(
        status=pb.HttpStatus(code=STATUSES.get(error.kind, 503)),
        headers=_headers(headers),
        body=dialect.render_error(error)[1],
        details=error.code or error.kind.value,
    )
    return _written(pb.ProcessingResponse(immediate_response=told))


def pieces(part: str, body: bytes, *, ends: bool) -> Sequence[bytes]:
    """A body, or a part of one, in pieces that are passed on as they are; `ends`: nothing follows."""
    message, streamed = _PIECES[part]
    written = list[bytes]()
    for at in range(0, max(len(body), 1), PIECE_BYTES):
        is_last = at + PIECE_BYTES >= len(body)
        streamed.body, streamed.end_of_stream = body[at : at + PIECE_BYTES], ends and is_last
        written.append(_written(message))
    streamed.body = b""
    return written


def _piece(part: str) -> tuple[Any, Any]:
    message = pb.ProcessingResponse()
    streamed = getattr(message, part).response.body_mutation.streamed_response
    streamed.SetInParent()
    return message, streamed


_PIECES: Final = {part: _piece(part) for part in ("request_body", "response_body")}
"""A message for a piece of a body, and the part of it in which the piece is: made once, for all pieces."""


def _written(message: Any) -> bytes:
    written: bytes = message.SerializeToString()
    return written


def _headers(values: Mapping[str, str]) -> Any:
    return pb.HeaderMutation(
        set_headers=[
            pb.HeaderValueOption(header=pb.HeaderValue(key=name, raw_value=value.encode()), append_action=_OVERWRITE)
            for name, value in values.items()
        ]
    )


def _line(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = "".join(each if " " <= each <= "~" else "?" for each in text)
    return text[:1000]
