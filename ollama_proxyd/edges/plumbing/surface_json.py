"""JSON of the surfaces: the server's own routes, their events, and D-Bus."""

import json

import msgspec

from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.requests import Json


def surface_json(value: Json) -> bytes:
    """A value as JSON, its numbers with the digits that mean something, its controls escaped."""
    return escaped(msgspec.json.encode(shortened(value)))


def escaped(encoded: bytes) -> bytes:
    """The JSON text with DEL, C1 and bidirectional controls escaped: JSON leaves them, and terminals obey them."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    text = encoded.decode()
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text).encode()
