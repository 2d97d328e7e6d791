"""Calls in the conversation that a client sends back: arguments that say nothing are an empty object."""

import re
from typing import Any

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE

_KEY = b'"arguments"'
_NOTHING = re.compile(rb'"arguments"\s*:\s*"(?:\s|\\[nrt])*"')
"""A quote within a string is escaped, so what is found is a key with a blank text."""
_MESSAGES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_CALLS = msgspec.json.Decoder(list[dict[str, Any]])


def with_arguments(body: bytes, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The fields of a body with arguments that every engine reads; the same object where they are so already.

    Many engines write no arguments as "", and clients send that back; llama-server refuses it with a 500.
    """
    messages = fields.get("messages")
    if messages is None or body.rfind(_KEY) < 0 or not _NOTHING.search(messages):
        return fields
    try:
        told = [_mended(message) for message in _MESSAGES.decode(messages)]
    except UNREADABLE:
        return fields  # the engine says what is wrong
    return {**fields, "messages": msgspec.Raw(msgspec.json.encode(told))}


def _mended(message: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    calls = message.get("tool_calls")
    if calls is None or not _NOTHING.search(calls):
        return message
    return {**message, "tool_calls": msgspec.Raw(msgspec.json.encode([*map(_call, _CALLS.decode(calls))]))}


def _call(call: dict[str, Json]) -> dict[str, Json]:
    function = call.get("function")
    if not isinstance(function, dict) or not _says_nothing(function.get("arguments")):
        return call
    return {**call, "function": {**function, "arguments": "{}"}}


def _says_nothing(arguments: Json) -> bool:
    return isinstance(arguments, str) and not arguments.strip()
