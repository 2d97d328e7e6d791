"""JSON request bodies: decoded strictly with errors that name the field, and renamed without touching the rest."""

import re
from typing import Any, TypeVar

import msgspec

from ollama_proxyd.core.errors import MODEL_REQUIRED, ErrorKind, ProxyError
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.limits import check_values

T = TypeVar("T")

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Json])
_TEXT = msgspec.json.Decoder(str)
_ANYTHING = msgspec.json.Decoder[Json](Any)
_A_FLOAT = "got `float`"
_MOST_WHOLE = 2**53
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_TYPE = re.compile(f"`((?:{'|'.join(_TYPES)})(?: \\| (?:{'|'.join(_TYPES)}))*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises over bytes that are not what they should be."""

_KEY = b'"model"'
_COLON = re.compile(rb"\s*:\s*")
_ESCAPED_LETTER = b"\\u006"
"""How every letter of "model" begins when it is escaped."""


def decode_object(body: bytes) -> dict[str, Json]:
    """The whole body as a dictionary; ProxyError(INVALID_REQUEST) when it is not a JSON object."""
    return decode_typed(_OBJECT, body)


def decode_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level fields in the client's order, their values still the client's bytes."""
    return _decoded(_FIELDS, body)


def decode_value(raw: msgspec.Raw, field: str) -> Json:
    """The value of a top-level field, which may be one that JSON allows and we cannot hold."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_request(f"invalid value for '{field}': {error}", field) from error


def decode_typed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """What the decoder makes of a client's body.

    ProxyError(INVALID_REQUEST) names the field that is wrong, ProxyError(TOO_LARGE) the limit on values.
    """
    check_values(body)
    return _decoded(decoder, body)


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    if not body or body.isspace():
        raise invalid_request("missing request body")
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        found = _in_whole_numbers(decoder, body) if _A_FLOAT in str(error) else None
        if found is None:
            raise invalid(error) from error
        return found


def _in_whole_numbers(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """What the decoder makes of a body once 100.0 stands as 100, which to JSON is the same number."""
    told = readable(_ANYTHING, body)
    try:
        return decoder.decode(msgspec.json.encode(_whole(told)))
    except UNREADABLE:
        return None


def _whole(told: Json) -> Json:
    if isinstance(told, dict):
        return {name: _whole(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_whole(value) for value in told]
    is_whole = isinstance(told, float) and told.is_integer() and abs(told) < _MOST_WHOLE
    return int(told) if is_whole else told


def readable(decoder: msgspec.json.Decoder[T], text: bytes | str | msgspec.Raw) -> T | None:
    """What the decoder makes of a text, None where it cannot read it."""
    try:
        return decoder.decode(text)
    except UNREADABLE:
        return None


def object_in(text: bytes | str) -> dict[str, Json] | None:
    """The JSON object that a text is, None where it is something else."""
    return readable(_OBJECT, text)


def energy_in(finished: Finished) -> dict[str, Json]:
    """What an answer cost, how that is known and how far it may be wrong, for a client that asked for it."""
    if (energy := finished.energy) is None:
        return {}
    known = {"energy_source": energy.source.value, "energy_error_percent": energy.error_percent}
    return {"energy_j": round(energy.total_j, 3), **known}


def present(**fields: Json) -> dict[str, Json]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def in_one_step(value: Json | tuple[float, ...]) -> msgspec.Raw:
    """A value as JSON: what is encoded at once keeps the event loop waiting, and a thousand vectors take 0.1 s."""
    return msgspec.Raw(msgspec.json.encode(value))


def with_item(array: msgspec.Raw, item: Json) -> msgspec.Raw:
    """A JSON array with one more item, its others untouched."""
    text = bytes(array).rstrip()[:-1].rstrip()
    return msgspec.Raw(text + (b"" if text.endswith(b"[") else b",") + msgspec.json.encode(item) + b"]")


def convert_typed(value: Json, to: type[T]) -> T:
    """A decoded value as the type; ProxyError(INVALID_REQUEST) names the field that is wrong."""
    try:
        return msgspec.convert(value, to)
    except (msgspec.ValidationError, RecursionError) as error:
        if _A_FLOAT not in str(error):
            raise invalid(error) from error
    try:
        return msgspec.convert(_whole(value), to)
    except (msgspec.ValidationError, RecursionError) as error:
        raise invalid(error) from error


def invalid_request(message: str, param: str | None = None) -> ProxyError:
    """The client's request is at fault."""
    return ProxyError(ErrorKind.INVALID_REQUEST, message, param=param)


def model_required() -> ProxyError:
    """The client names no model, where there may be several."""
    return ProxyError(ErrorKind.INVALID_REQUEST, "model is required", param="model", code=MODEL_REQUIRED)


def quoted(text: str) -> str:
    """Text in double quotes, escaped."""
    return msgspec.json.encode(text).decode()


def invalid(error: Exception) -> ProxyError:
    """A decoder's complaint as an INVALID_REQUEST that names the field at fault."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return invalid_request(f"the body is not valid JSON: {text.removeprefix('JSON is malformed: ')}")
    where = _PATH.search(text)
    path = where.group(1) if where else ""
    missing = _MISSING.match(text)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return ProxyError(ErrorKind.INVALID_REQUEST, f"{path} is required", param=path)
    problem = in_words(_PATH.sub("", text)).replace("`", "")
    return ProxyError(
        ErrorKind.INVALID_REQUEST,
        f"invalid value for '{path or 'the request body'}': {problem[:1].lower()}{problem[1:]}",
        param=path or None,
    )


def in_words(problem: str) -> str:
    """A decoder's complaint with JSON's types in words, instead of Python's names of them."""
    return _TYPE.sub(lambda found: " or ".join(_TYPES[name] for name in found.group(1).split(" | ")), problem)


def with_model(body: bytes, fields: dict[str, msgspec.Raw], name: str) -> bytes:
    """A body, decoded into `fields`, with another top-level "model"; the same object when nothing changes.

    Every other byte survives where the name's place is certain; else the values' bytes and the order of the keys do.
    The outcome has one top-level "model": of several, readers differ in which one counts.
    """
    model = fields.get("model")
    at = None if model is None else _only_model(body)
    if model is not None and readable(_TEXT, model) == name and (at is not None or _names_all_once(body, fields)):
        return body
    encoded = msgspec.json.encode(name)
    if model is None or at is None:
        return msgspec.json.encode({**fields, "model": msgspec.Raw(encoded)})
    return b"".join((body[:at], encoded, body[at + len(memoryview(model)) :]))


def with_field(body: bytes, name: str, value: Json) -> bytes:
    """A JSON object with one more field at its end, where readers prefer it to an earlier one; the rest untouched."""
    at = body.rindex(b"}")
    separator = b"" if body[:at].rstrip().endswith(b"{") else b","
    return b"".join((body[:at], separator, msgspec.json.encode({name: value})[1:-1], body[at:]))


def _only_model(body: bytes) -> int | None:
    """Where the value of the only "model" of a JSON text begins, at whatever depth; None when there are several.

    A quote within a string is escaped, so what is found is a key. One that hides letters of its name is not found.
    Searched from the end, which CPython does several times faster in a long text.
    """
    if b"\\" in body and body.rfind(_ESCAPED_LETTER) >= 0:
        return None
    found = None
    at = body.rfind(_KEY)
    while at >= 0:
        colon = _COLON.match(body, at + len(_KEY))
        if colon is not None:
            if found is not None:
                return None
            found = colon.end()
        at = body.rfind(_KEY, 0, at)
    return found


def _names_all_once(body: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether no key stands twice, so that the decoded fields are the whole body."""
    return msgspec.json.format(body, indent=-1) == msgspec.json.format(msgspec.json.encode(fields), indent=-1)


def renamed(payload: bytes, name: str, member: str = "") -> bytes:
    """A JSON object, or a member of it, under another model name; anything without one stays as it is."""
    try:
        fields = decode_fields(payload)
    except ProxyError:
        return payload
    if not member:
        return with_model(payload, fields, name) if "model" in fields else payload
    if member not in fields:
        return payload
    return msgspec.json.encode({**fields, member: msgspec.Raw(renamed(bytes(fields[member]), name))})
