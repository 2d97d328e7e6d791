"""Reads /api/show requests, and describes a model whose backend has no such call."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.ollama.bodies import decode, refusal
from ollama_proxyd.dialects.ollama.keys import refuse_lookalikes
from ollama_proxyd.dialects.ollama.models import UNKNOWN_TIME, details, tagged


class _Show(msgspec.Struct):
    model: str | None = None
    name: str | None = None
    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: dict[str, Json] | None = None


_SHOW = msgspec.json.Decoder(_Show)
_FIELDS = msgspec.json.Decoder(dict[str, Json])


def parse_show(body: bytes) -> tuple[str, Mapping[str, Json]]:
    """The model that is asked about (`name` is the older word for it), and all fields of the request."""
    read = decode(body, _SHOW, "ShowRequest")
    model = read.model or read.name
    if not model:
        raise refusal("model is required", "model")
    fields = decode(body, _FIELDS, "ShowRequest")
    refuse_lookalikes(fields)
    return model, fields


def describe(model: Model, engine: str, endpoint: str, template: str | None = None) -> dict[str, Json]:
    """The answer for a model that is served by an engine without Ollama's files.

    The modelfile says where the model is served instead of naming a file; `template` is the engine's chat template.
    """
    described: dict[str, Json] = {"modelfile": _modelfile(model, engine, endpoint)}
    if template:
        described["template"] = template
    described["details"] = details(model)
    described["model_info"] = _model_info(model)
    if model.capabilities is not None:
        described["capabilities"] = sorted(model.capabilities)
    described["modified_at"] = model.modified_at or UNKNOWN_TIME
    return described


def _modelfile(model: Model, engine: str, endpoint: str) -> str:
    return (
        f"# {tagged(model.name)} is served by {engine} at {endpoint}.\n"
        "# That engine keeps no Modelfile, so this one only names the model.\n"
        f"FROM {model.name}\n"
    )


def _model_info(model: Model) -> dict[str, Json]:
    """What is known under GGUF's names; lengths need the architecture, which is part of their name."""
    if model.family is None:
        return {}
    lengths = {"context_length": model.context_length, "embedding_length": model.embedding_length}
    known = {f"{model.family}.{name}": length for name, length in lengths.items() if length is not None}
    return {"general.architecture": model.family, **known}
