"""The arguments of a tool call, as models and engines write them: a JSON object, perhaps as a text, perhaps nothing."""

import re

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import object_in, readable
from ollama_proxyd.dialects.framing.lenient import begun_with

_TEXT = msgspec.json.Decoder(str)
_EMPTY = "{}"
_MOST_LEVELS = 3
"""How often a text may be encoded again as a text."""


_SAYS_NOTHING = re.compile(r"""(?:[\s}\])"'`;,.]|<[^<>]{1,40}>)*""")
"""What models write behind their arguments: a bracket too many, a quote, a mark of their own such as </tool_call>."""

OTHER_NAMES = ("parameters", "input")
"""What some engines and models call the arguments."""


def arguments_in(function: dict[str, Json]) -> dict[str, Json]:
    """The members of a function with its arguments under their own name."""
    if function.get("arguments") is not None:
        return function
    others = [name for name in OTHER_NAMES if isinstance(function.get(name), dict | str)]
    return {**function, "arguments": function[others[0]]} if others else function


def in_function(call: dict[str, Json]) -> dict[str, Json]:
    """The members of a call with what is called in its function, where some engines have it beside the id."""
    if "function" in call or not isinstance(call.get("name"), str):
        return call
    function = {name: call[name] for name in ("name", "arguments") if name in call}
    return {"function": function, **{name: value for name, value in call.items() if name not in function}}


def object_of(arguments: str, levels: int = _MOST_LEVELS) -> bytes | None:
    """The JSON text of the object, as it was written where it can be; None where there is none."""
    text = arguments.strip()
    if text in {"", "null", "[]"}:
        return _EMPTY.encode()
    if text.startswith('"'):
        inner = readable(_TEXT, text.encode()) if levels else None
        return None if inner is None else object_of(inner, levels - 1)
    if text != _EMPTY:  # some engines begin with an empty object, and then send the arguments
        text = text.removeprefix(_EMPTY)
    written = text.encode(errors="replace")
    if object_in(written) is not None:
        return written
    begun = begun_with(written)
    return None if begun is None or not _SAYS_NOTHING.fullmatch(begun[1]) else msgspec.json.encode(begun[0])
