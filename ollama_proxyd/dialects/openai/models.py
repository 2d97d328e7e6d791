"""OpenAI's list of models, each with the backends that hold it."""

from collections.abc import Iterable, Sequence

import msgspec

from ollama_proxyd.core.requests import Json

ModelRow = tuple[str, int, Sequence[str]]
"""A model's name, the Unix time in seconds of its making, and the ids of the backends that hold it."""

_LOCAL_OWNER = "library"


def render_list(rows: Iterable[ModelRow]) -> bytes:
    """The body of GET /v1/models."""
    return msgspec.json.encode({"object": "list", "data": [_model(row) for row in rows]})


def render_one(row: ModelRow) -> bytes:
    """The body of GET /v1/models/{id}."""
    return msgspec.json.encode(_model(row))


def _model(row: ModelRow) -> dict[str, Json]:
    name, created, backends = row
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": _owner(name),
        "backends": list(backends),
    }


def _owner(name: str) -> str:
    """The part of the name before the last slash, as in `owner/model`."""
    path = name.split("/")
    return path[-2] if len(path) > 1 and path[-2] else _LOCAL_OWNER
