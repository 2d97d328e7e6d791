"""JSON of the surfaces: the server's own routes, their events, and D-Bus."""

import msgspec

from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.requests import Json


def surface_json(value: Json) -> bytes:
    """A value as JSON, its numbers with the digits that mean something."""
    return msgspec.json.encode(shortened(value))
