"""Chats that end in an answer which the model is to go on with."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import readable


class _Message(msgspec.Struct):
    role: Json = None


_MESSAGES = msgspec.json.Decoder(list[_Message])


def is_begun(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the last message is the model's own: a whole answer repeats it, a stream does not."""
    messages = readable(_MESSAGES, bytes(fields.get("messages", b"[]"))) or ()
    return [each.role for each in messages[-1:]] == ["assistant"]
