"""The request that asks an engine to go on from a begun answer, in OpenAI's words."""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from ollama_proxyd.core.memo import Once
from ollama_proxyd.core.requests import Content, Request
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_value, present, with_item
from ollama_proxyd.dialects.openai.options import SPELLINGS

OF_EACH_TOKEN = frozenset(
    {
        *("allowed_token_ids", "bad_words", "ignore_eos", "stop_token_ids"),
        *("dry_multiplier", "dynatemp_range", "lora", "xtc_probability"),
    }
)
"""Settings that other APIs have no word for, and that mean the same for the rest of an answer as for all of it."""

_USAGE = msgspec.Raw(b'{"include_usage":true}')


def resumed_chat(request: Request, spoken: Spoken, parse_content: Callable[[bytes], Content]) -> Request:
    """The chat with what was spoken as its last message."""
    fields = decode_fields(request.body)
    message = present(role="assistant", content=spoken.text, reasoning_content=spoken.thinking or None)
    fields["messages"] = with_item(fields["messages"], message)
    return _resumed(request, spoken, fields, parse_content)


def resumed_completion(request: Request, spoken: Spoken, parse_content: Callable[[bytes], Content]) -> Request:
    """The completion with what was spoken at the end of its prompt."""
    fields = decode_fields(request.body)
    prompt = decode_value(fields["prompt"], "prompt")
    fields["prompt"] = _raw((prompt if isinstance(prompt, str) else prompt[0]) + spoken.text)
    return _resumed(request, spoken, fields, parse_content)


def _resumed(
    request: Request, spoken: Spoken, fields: dict[str, msgspec.Raw], parse_content: Callable[[bytes], Content]
) -> Request:
    for name in SPELLINGS["max_tokens"]:
        limit = decode_value(fields[name], name) if name in fields else None
        if isinstance(limit, int) and limit > 0:
            fields[name] = _raw(max(limit - spoken.tokens, 1))
    fields["stream_options"] = _USAGE
    body = msgspec.json.encode(fields)
    return replace(request, body=body, content=Once(lambda: parse_content(body)), spoken=spoken)


def _raw(value: str | int) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def lasting_content(request: Request, parse_content: Callable[[bytes], Content]) -> Content:
    """What the request asks for, but for settings that hold for each token alike."""
    fields = decode_fields(request.body)
    if OF_EACH_TOKEN.isdisjoint(fields):
        return request.content()
    return parse_content(msgspec.json.encode({name: fields[name] for name in fields if name not in OF_EACH_TOKEN}))
