"""What a call asks for: its message, its annotations and its deadline, as a request that every door makes."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from ollama_proxyd.core.cache_control import CacheControl
from ollama_proxyd.core.hints import read_hint
from ollama_proxyd.core.programs import Asker, Program
from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.dialects.framing.jsonbody import invalid_request
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_embedding

ANY_TARGET: Final = frozenset({"", "auto"})
_CUSTOM: Final = frozenset({"strict_limits", "media_type", "defer", "defer_max_wait_seconds"})
_NO_CACHE: Final = CacheControl(may_take=False, may_keep=False)
_OPTIONS: Final[Mapping[str, str]] = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "context_length": "num_ctx",
}


def read_chat(message: Any, hints: Hints) -> Request:
    """A prompt, which is the only thing that is said; raises ProxyError."""
    if not message.prompt:
        raise invalid_request("prompt is required", "prompt")
    chat: dict[str, Json] = {"model": message.model, "messages": [{"role": "user", "content": message.prompt}]}
    chat |= {"stream": True, "stream_options": {"include_usage": True}}
    options = message.options
    for name, word in _OPTIONS.items():
        if options.HasField(name):
            chat[word] = _shortest(getattr(options, name), name)
    if options.stop:
        chat["stop"] = list(options.stop)
    return received(msgspec.json.encode(chat), lambda body: parse_chat(body, hints))


def read_text(message: Any, hints: Hints) -> Request:
    """A text to embed; raises ProxyError."""
    if not message.text:
        raise invalid_request("text is required", "text")
    body = {"model": message.model, "input": message.text}
    return received(msgspec.json.encode(body), lambda whole: parse_embedding(whole, hints))


def read_hints(annotations: Any, request_id: str, program: Program, deadline_ms: int | None) -> Hints:
    """The hints of a call, whose deadline is `deadline_ms`; raises ProxyError."""
    given: dict[str, Json] = {
        "target": None if annotations.target in ANY_TARGET else annotations.target,
        "latency_critical": annotations.latency_critical or None,
        "power_efficient": annotations.prefer_power_efficiency or None,
        "max_latency_ms": annotations.max_latency_ms or None,
        "max_power_watts": annotations.max_power_watts or None,
        "priority": annotations.priority or None,
        "deadline_ms": annotations.deadline_unix_ms or None,
        **{name: text for name, text in annotations.custom.items() if name in _CUSTOM},
    }
    found = {name: read_hint(name, value, name) for name, value in given.items() if value is not None}
    if deadline_ms is not None:
        found["deadline_ms"] = min(found.get("deadline_ms", deadline_ms), deadline_ms)
    no_cache = annotations.HasField("cache_enabled") and not annotations.cache_enabled
    cache = _NO_CACHE if no_cache else CacheControl()
    return Hints(request_id=request_id, asker=Asker(program), include_energy=True, cache=cache, **found)


def _shortest(value: float, name: str) -> float:
    """A number as the client wrote it: a float of 32 bits has about seven digits. Raises ProxyError."""
    if not isfinite(value):
        raise invalid_request(f"{name} must be a finite number", name)
    return float(f"{value:.7g}") if isinstance(value, float) else value
