"""The request that asks an engine to go on from a begun answer, in Anthropic's words."""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from ollama_proxyd.core.memo import Once
from ollama_proxyd.core.requests import Content, Json, Request
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_item


def resumed(request: Request, spoken: Spoken, parse_content: Callable[[bytes], Content]) -> Request:
    """The call with what was spoken as its last message."""
    fields = decode_fields(request.body)
    blocks: list[Json] = []
    if spoken.thinking:
        blocks.append({"type": "thinking", "thinking": spoken.thinking, "signature": ""})
    if spoken.text:
        blocks.append({"type": "text", "text": spoken.text})
    fields["messages"] = with_item(fields["messages"], {"role": "assistant", "content": blocks})
    if request.max_tokens is not None:
        fields["max_tokens"] = msgspec.Raw(msgspec.json.encode(max(request.max_tokens - spoken.tokens, 1)))
    body = msgspec.json.encode(fields)
    return replace(request, body=body, content=Once(lambda: parse_content(body)), spoken=spoken)
