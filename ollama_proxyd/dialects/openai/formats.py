"""OpenAI's response_format, reasoning and tools: read strictly into the core's words."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Format, Json, JsonObject, JsonSchema, Think

EFFORTS: Mapping[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}
"""OpenAI's efforts in the core's words."""


class NamedSchema(msgspec.Struct):
    """A response format's schema."""

    schema: dict[str, Json]
    name: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What form the answer must have; llama-server also takes a schema beside json_object."""

    type: str
    json_schema: NamedSchema | None = None
    schema: dict[str, Json] | None = None


class Reasoning(msgspec.Struct):
    """The reasoning object, as far as it matters here."""

    effort: str | None = None


def parse_format(wanted: ResponseFormat | None) -> Format | None:
    """The form of the answer, None for plain text."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return JsonObject() if wanted.schema is None else JsonSchema(wanted.schema)
    if wanted.type != "json_schema":
        raise _invalid(
            f"invalid response_format type '{wanted.type}' (must be text, json_object or json_schema)",
            "response_format.type",
        )
    if wanted.json_schema is None:
        raise _invalid("response_format.json_schema is required", "response_format.json_schema")
    schema = wanted.json_schema
    return JsonSchema(schema.schema, schema.name, schema.strict)


def parse_think(effort: str | None, template: Mapping[str, Json]) -> Think | None:
    """Whether to think, from an effort, or else from what the client set for the chat template."""
    if effort is None:
        effort = template.get("reasoning_effort")
    enabled = template.get("enable_thinking")
    if enabled is not None and not isinstance(enabled, bool):
        raise _invalid("chat_template_kwargs.enable_thinking must be true or false", "chat_template_kwargs")
    if enabled is False or effort is None:
        return enabled
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise _invalid(f"invalid reasoning value: '{effort}' (must be one of {', '.join(EFFORTS)})", "reasoning_effort")
    return EFFORTS[effort]


def check_top_logprobs(top_logprobs: int | None) -> int | None:
    """The number of likeliest tokens asked for, which must be 0 to 20."""
    if top_logprobs is not None and not 0 <= top_logprobs <= 20:
        raise _invalid("top_logprobs must be between 0 and 20", "top_logprobs")
    return top_logprobs


def _invalid(message: str, param: str) -> ProxyError:
    return ProxyError(ErrorKind.INVALID_REQUEST, message, param=param)
