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
    told = b"" if backend_id is None else _set_header(_BACKEND, backend_id.encode())
    told += _set_header(_REASON, _line(str(picked.decision.reason)).encode())
    return _within(_HEAD_OF_ANSWER, told)


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
    """A body, or a part of one, in pieces that are passed on as they are; `ends`: nothing follows.

    They are written by hand: a message that is used again keeps each body that it ever had.
    """
    path, count = _PIECES[part], max(-(-len(body) // PIECE_BYTES), 1)
    pieces = [body[at * PIECE_BYTES : (at + 1) * PIECE_BYTES] for at in range(count)]
    written = [_within(path, _field(_BODY, each)) for each in pieces[:-1]]
    return [*written, _within(path, _field(_BODY, pieces[-1]) + (_ENDS if ends else b""))]


def _set_header(key: bytes, value: bytes) -> bytes:
    """A header of the answer; `key` is its name as a field."""
    return _field(_SET_HEADERS, _field(_HEADER, key + _field(_RAW_VALUE, value)) + _OVERWRITES)


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


def _varint(number: int) -> bytes:
    """A number as messages have it: seven bits a byte, the lowest first."""
    if number < 0x80:
        return _SHORT[number]
    return _SHORT[number & 0x7F | 0x80] + _varint(number >> 7)


_SHORT: Final = [bytes((number,)) for number in range(256)]


def _field(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, or of a message."""
    return tag + _varint(len(content)) + content


def _within(path: Sequence[bytes], content: bytes) -> bytes:
    """A message that has another so deep within."""
    head, size = b"", len(content)
    for tag in reversed(path):
        head = tag + _varint(size + len(head)) + head
    return head + content


def _tag(message: Any, field: str, *, is_number: bool = False) -> bytes:
    """What a field begins with."""
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | (0 if is_number else 2))


_RESPONSE: Final = _tag(pb.HeadersResponse, "response")
_HEAD_OF_ANSWER: Final = (
    _tag(pb.ProcessingResponse, "response_headers"),
    _RESPONSE,
    _tag(pb.CommonResponse, "header_mutation"),
)
_SET_HEADERS: Final = _tag(pb.HeaderMutation, "set_headers")
_HEADER: Final = _tag(pb.HeaderValueOption, "header")
_KEY, _RAW_VALUE = _tag(pb.HeaderValue, "key"), _tag(pb.HeaderValue, "raw_value")
_BACKEND: Final = _field(_KEY, b"x-backend-used")
_REASON: Final = _field(_KEY, b"x-routing-reason")
_OVERWRITES: Final = _tag(pb.HeaderValueOption, "append_action", is_number=True) + _varint(_OVERWRITE)
_STREAMED: Final = (
    _tag(pb.BodyResponse, "response"),
    _tag(pb.CommonResponse, "body_mutation"),
    _tag(pb.BodyMutation, "streamed_response"),
)
_PIECES: Final = {part: (_tag(pb.ProcessingResponse, part), *_STREAMED) for part in ("request_body", "response_body")}
"""Where the piece of a body is in a message."""
_BODY: Final = _tag(pb.StreamedBodyResponse, "body")
_ENDS: Final = _tag(pb.StreamedBodyResponse, "end_of_stream", is_number=True) + b"\1"
