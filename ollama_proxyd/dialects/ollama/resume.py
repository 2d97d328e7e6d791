"""The request that asks an engine to go on from a begun answer, in Ollama's words."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec

from ollama_proxyd.core.requests import Content, Json, Operation, Request
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_object, decode_value, present, with_item

_OF_ONE_TURN = ("prompt", "system", "images", "raw", "template", "context", "suffix")


def resumed_chat(request: Request, spoken: Spoken, parse_content: Callable[[bytes], Content]) -> Request:
    """The chat with what was spoken as its last message."""
    fields = decode_fields(request.body)
    fields["messages"] = with_item(fields["messages"], _message(spoken))
    return _resumed(request, spoken, fields, parse_content)


def resumed_generate(request: Request, spoken: Spoken, parse: tuple[Callable[[bytes], Content], ...]) -> Request:
    """A raw prompt that goes on with what was spoken, else the chat of one turn that the prompt stands for.

    `parse` reads the content of a prompt, and of a chat.
    """
    fields, told = decode_fields(request.body), decode_object(request.body)
    if told.get("raw"):
        fields["prompt"] = _raw((told.get("prompt") or "") + spoken.text)
        return _resumed(request, spoken, fields, parse[0])
    user = present(role="user", content=told.get("prompt") or "", images=told.get("images"))
    system = [{"role": "system", "content": told["system"]}] if told.get("system") else []
    fields = {name: value for name, value in fields.items() if name not in _OF_ONE_TURN}
    fields["messages"] = _raw([*system, user, _message(spoken)])
    return _resumed(replace(request, operation=Operation.CHAT, endpoint="chat"), spoken, fields, parse[1])


def _message(spoken: Spoken) -> dict[str, Json]:
    return present(role="assistant", content=spoken.text, thinking=spoken.thinking or None)


def _resumed(
    request: Request, spoken: Spoken, fields: dict[str, msgspec.Raw], parse_content: Callable[[bytes], Content]
) -> Request:
    options: dict[str, Json] = (decode_value(fields["options"], "options") if "options" in fields else None) or {}
    limit = options.get("num_predict")
    if limit is not None and limit > 0:
        fields["options"] = _raw({**options, "num_predict": max(int(limit) - spoken.tokens, 1)})
    body = msgspec.json.encode(fields)
    return replace(request, body=body, content=partial(parse_content, body), spoken=spoken)


def _raw(value: Json) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
