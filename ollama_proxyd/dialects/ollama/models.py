"""Ollama's lists and descriptions of models, each model with the backends that hold it.

An unknown size or length is 0 in the lists: typed clients (ollama-rs, Zed) take a list without it for broken.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import decode_object, decode_typed, invalid_request, present
from ollama_proxyd.dialects.framing.limits import ModelName
from ollama_proxyd.dialects.ollama.options import refuse_lookalikes

ModelRow = tuple[Model, Sequence[str]]
"""A model, and the ids of the backends that hold it."""

LoadedRow = tuple[LoadedModel, Model | None, Sequence[str]]
"""A model in memory, what is known about it otherwise, and the ids of the backends that have it there."""

UNKNOWN_TIME: Final = "0001-01-01T00:00:00Z"
"""How Ollama writes a time that it does not know."""

OF_THE_NAME: Final = "name:"
"""How a digest begins that says nothing of the weights."""

UNKNOWN_ARCHITECTURE: Final = "unknown"
_ARCHITECTURE: Final = "general.architecture"

NEVER: Final = "2318-01-01T00:00:00Z"
"""The expiry of a model that stays: Ollama too shows a date about 292 years ahead."""


def render_tags(rows: Iterable[ModelRow]) -> bytes:
    """The body of GET /api/tags."""
    return msgspec.json.encode({"models": [_held(model, backends) for model, backends in rows]})


def render_ps(rows: Iterable[LoadedRow]) -> bytes:
    """The body of GET /api/ps, the longest-lived first."""
    ordered = sorted(rows, key=lambda row: row[0].expires_at or NEVER, reverse=True)
    return msgspec.json.encode({"models": [_loaded(*row) for row in ordered]})


def render_version(version: str) -> bytes:
    """The body of GET /api/version."""
    return msgspec.json.encode({"version": version})


def tagged(name: str) -> str:
    """The name as Ollama lists it: never without a tag."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def details(model: Model) -> dict[str, Json]:
    """What kind of model it is."""
    return {
        "parent_model": "",
        "format": model.format or "",
        "family": model.family or "",
        "families": [model.family] if model.family else [],
        "parameter_size": model.parameter_size or "",
        "quantization_level": model.quantization or "",
    }


def digest(model: Model) -> str:
    """What tells a model from others: the engine's own digest, else one of the name, which is marked.

    Clients take models of one digest for one (llm-ollama keeps their capabilities by it), and `ollama list` shows the
    first 12 characters without a look at how many there are.
    """
    return model.digest or OF_THE_NAME + sha256(tagged(model.name).encode()).hexdigest()


def _held(model: Model, backends: Sequence[str]) -> dict[str, Json]:
    return {
        "name": tagged(model.name),
        "model": tagged(model.name),
        "modified_at": model.modified_at or UNKNOWN_TIME,
        "size": model.size_bytes or 0,
        "digest": digest(model),
        "details": {**details(model), **_lengths(model)},
        **_capabilities(model),
        "backends": list(backends),
    }


def _lengths(model: Model) -> dict[str, Json]:
    return present(context_length=model.context_length, embedding_length=model.embedding_length)


def _capabilities(model: Model) -> dict[str, Json]:
    return {} if model.capabilities is None else {"capabilities": sorted(model.capabilities)}


def _loaded(loaded: LoadedModel, model: Model | None, backends: Sequence[str]) -> dict[str, Json]:
    known = model or Model(loaded.name)
    return {
        "name": tagged(loaded.name),
        "model": tagged(loaded.name),
        "size": loaded.size_bytes or known.size_bytes or 0,
        "digest": digest(known),
        "details": details(known),
        "expires_at": loaded.expires_at or NEVER,
        "size_vram": loaded.size_vram_bytes or 0,
        "context_length": loaded.context_length or 0,
        "backends": list(backends),
    }


class _ShowRequest(msgspec.Struct):
    model: ModelName | None = None
    name: ModelName | None = None
    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: dict[str, Json] | None = None


_SHOW = msgspec.json.Decoder(_ShowRequest)


def parse_show(body: bytes) -> tuple[str, Mapping[str, Json]]:
    """The model that is asked about (`name` is the older word for it), and all fields of the request."""
    read = decode_typed(_SHOW, body)
    model = read.model or read.name
    if not model:
        raise invalid_request("model is required", "model")
    fields = decode_object(body)
    refuse_lookalikes(fields)
    return model, fields


def describe(
    model: Model, engine: str, endpoint: str, template: str | None = None, info: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """The answer for a model that is served by an engine without Ollama's files.

    The modelfile says where the model is served instead of naming a file; `template` is the engine's chat template,
    `info` what the model's file says.
    """
    return {
        "modelfile": _modelfile(model, engine, endpoint),
        **present(template=template or None),
        "details": details(model),
        "model_info": dict(info or _model_info(model)),
        **_capabilities(model),
        "modified_at": model.modified_at or UNKNOWN_TIME,
    }


def completed(shown: Mapping[str, Json]) -> dict[str, Json]:
    """A model's details with what editors read without asking whether it is there.

    A model of which nothing is told counts as one that completes, of an unknown architecture.
    """
    told, info = shown.get("capabilities"), shown.get("model_info")
    info = dict(info) if isinstance(info, Mapping) else {}
    if not isinstance(info.get(_ARCHITECTURE), str):
        info[_ARCHITECTURE] = UNKNOWN_ARCHITECTURE
    return {**shown, "model_info": info, "capabilities": told if isinstance(told, list) else ["completion"]}


def _modelfile(model: Model, engine: str, endpoint: str) -> str:
    return (
        f"# {tagged(model.name)} is served by {engine} at {endpoint}.\n"
        "# That engine keeps no Modelfile, so this one only names the model.\n"
        f"FROM {model.name}\n"
    )


def _model_info(model: Model) -> dict[str, Json]:
    """What is known under GGUF's names; the architecture is part of those of lengths."""
    architecture = model.family or UNKNOWN_ARCHITECTURE
    known = {f"{architecture}.{name}": length for name, length in _lengths(model).items()}
    return {_ARCHITECTURE: architecture, **known}
