"""JSON request bodies: decoded strictly with errors that name the field, and renamed without touching the rest."""

import re
from typing import TypeVar

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

T = TypeVar("T")

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Json])
_NAME = msgspec.json.Decoder(str)
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")


def decode_object(body: bytes) -> dict[str, Json]:
    """The whole body as a dictionary; ProxyError(INVALID_REQUEST) when it is not a JSON object."""
    return decode_typed(_OBJECT, body)


def decode_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level fields in the client's order, their values still the client's bytes."""
    return decode_typed(_FIELDS, body)


def decode_typed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """What the decoder makes of the body; ProxyError(INVALID_REQUEST) names the field that is wrong."""
    if not body:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "missing request body")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(error) from error


def convert_typed(value: Json, to: type[T]) -> T:
    """A decoded value as the type; ProxyError(INVALID_REQUEST) names the field that is wrong."""
    try:
        return msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        raise invalid(error) from error


def invalid(error: Exception) -> ProxyError:
    """A decoder's complaint as an INVALID_REQUEST that names the field at fault."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        truncated = text == "Input data was truncated"
        return ProxyError(
            ErrorKind.INVALID_REQUEST, "unexpected EOF" if truncated else f"the request body is not JSON: {text}"
        )
    where = _PATH.search(text)
    path = where.group(1) if where else ""
    missing = _MISSING.match(text)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return ProxyError(ErrorKind.INVALID_REQUEST, f"{path} is required", param=path)
    problem = _PATH.sub("", text).replace("`", "")
    return ProxyError(
        ErrorKind.INVALID_REQUEST,
        f"invalid value for '{path or 'the request body'}': {problem[:1].lower()}{problem[1:]}",
        param=path or None,
    )


def rename_model(body: bytes, name: str) -> bytes:
    """The body with another top-level "model"; every other value's bytes and the order of the keys survive."""
    return with_model(body, decode_fields(body), name)


def with_model(body: bytes, fields: dict[str, msgspec.Raw], name: str) -> bytes:
    """`rename_model` for a body whose fields are decoded already; the same object when nothing changes."""
    model = fields.get("model")
    if model is not None and _is_text(model, name):
        return body
    return msgspec.json.encode({**fields, "model": msgspec.Raw(msgspec.json.encode(name))})


def _is_text(value: msgspec.Raw, text: str) -> bool:
    try:
        return _NAME.decode(value) == text
    except msgspec.DecodeError:
        return False
