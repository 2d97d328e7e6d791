"""What goes over a WebSocket for streaming, in the words of its documentation and of its first implementation."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Finished
from ollama_proxyd.core.fields import LONGEST_TEXT
from ollama_proxyd.core.hints import FIELDS, read_hint
from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.dialects.framing.gathering import finished_calls
from ollama_proxyd.dialects.framing.jsonbody import decode_object, invalid_request
from ollama_proxyd.dialects.framing.received import received

_CODES: Mapping[ErrorKind, str] = {
    ErrorKind.INVALID_REQUEST: "invalid_request",
    ErrorKind.UNSUPPORTED: "invalid_request",
    ErrorKind.TOO_LARGE: "too_large",
    ErrorKind.BACKEND_NOT_FOUND: "no_backends",
    ErrorKind.MODEL_NOT_FOUND: "model_not_found",
    ErrorKind.OVERLOADED: "overloaded",
    ErrorKind.LIMIT_UNMET: "no_backends",
    ErrorKind.UNAVAILABLE: "no_backends",
    ErrorKind.NO_ROOM: "no_backends",
    ErrorKind.UPSTREAM_TIMEOUT: "timeout",
    ErrorKind.UPSTREAM_REJECTED: "rejected",
    ErrorKind.UPSTREAM_FAILED: "backend_error",
}
_HINT_NAMES = {**{name: name for name in FIELDS}, "target_backend": "target"}
_ANY_TARGET = ("", "auto")
_OWN = frozenset({"request_id", "prompt", "options", "annotations", "stream", *_HINT_NAMES})


class Asked(NamedTuple):
    """A message that asks for an answer; `is_streamed`: its pieces come as they are made."""

    request_id: str
    request: Request
    is_streamed: bool


def read_message(data: bytes) -> dict[str, Json]:
    """A message as an object; raises ProxyError."""
    return received(data, decode_object)


def id_of(message: Mapping[str, Json], fallback: str) -> str:
    """What the client calls a request, or our own name for it; raises ProxyError."""
    given = message.get("request_id")
    if given is None:
        return fallback
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_TEXT:
        raise invalid_request(f"request_id must be a text of 1 to {LONGEST_TEXT} characters", "request_id")
    return given


def read_asked(
    message: Mapping[str, Json], request_id: str, hints: Hints, parser: Callable[[Hints], Callable[[bytes], Request]]
) -> Asked:
    """The chat that a message asks for; a prompt is the only thing that is said. Raises ProxyError."""
    options, annotations = (_object(message, name) for name in ("options", "annotations"))
    stream = message.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise invalid_request("stream must be true or false", "stream")
    chat = {**options, **{name: value for name, value in message.items() if name not in _OWN}}
    prompt, messages = message.get("prompt"), message.get("messages")
    if prompt is not None or messages is None:
        if messages is not None or not isinstance(prompt, str):
            raise invalid_request("send prompt, a text, or messages", "prompt")
        chat["messages"] = [{"role": "user", "content": prompt}]
    chat |= {"stream": True, "stream_options": {"include_usage": True}}
    given = _hints({**annotations, **message})
    request = parser(replace(hints, include_energy=True, **given))(msgspec.json.encode(chat))
    return Asked(request_id, request, stream is not False)


def _object(message: Mapping[str, Json], name: str) -> dict[str, Json]:
    value = message.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid_request(f"{name} must be an object", name)
    return value or {}


def _hints(fields: Mapping[str, Json]) -> dict[str, Any]:
    found = {}
    for name, field in _HINT_NAMES.items():
        is_open = field == "target" and fields.get(name) in _ANY_TARGET
        if fields.get(name) is not None and field != "include_energy" and not is_open:
            found[field] = read_hint(field, fields[name], name)
    return found


def error_fields(error: ProxyError) -> dict[str, Json]:
    """An error with its code, and when to come back where that is known."""
    error = error.named({"target": "target_backend"})
    told: dict[str, Json] = {"error": error.message, "code": _CODES.get(error.kind, error.kind.value)}
    if error.param is not None:
        told["param"] = error.param
    if error.wait_s is not None:
        told["retry_after_seconds"] = error.wait_s
    return told


def whole_fields(answer: Delta, finished: Finished) -> dict[str, Json]:
    """What was said, and the tools that the model calls, as OpenAI writes them. Raises ProxyError."""
    told: dict[str, Json] = {"token": answer.text, "thinking": answer.thinking}
    told["tool_calls"] = [
        {
            "id": call.id or f"call_{call.index}",
            "type": "function",
            "function": {"name": call.name, "arguments": arguments.decode()},
        }
        for call, arguments in finished_calls(answer.tool_calls, finished)
    ]
    return {name: value for name, value in told.items() if value}


def last_fields(finished: Finished, spent_s: float, ttft_ms: float | None) -> dict[str, Json]:
    """What is told of an answer at its end."""
    usage, energy = finished.usage, finished.energy
    tokens = usage.completion_tokens
    told: dict[str, Json] = {
        "finish_reason": finished.reason.value,
        "ttft_ms": ttft_ms,
        "total_time_ms": round(spent_s * 1000, 3),
        "total_duration_ms": round(spent_s * 1000, 3),
        "token_count": tokens,
        "total_tokens": tokens,
        "prompt_tokens": usage.prompt_tokens,
        "tokens_per_sec": round(tokens / spent_s, 3) if tokens and spent_s > 0 else None,
        "energy_joules": None if energy is None else round(energy.total_j, 3),
        "energy_source": None if energy is None else energy.source.value,
        "energy_error_percent": None if energy is None else energy.error_percent,
    }
    return {name: value for name, value in told.items() if value is not None}
