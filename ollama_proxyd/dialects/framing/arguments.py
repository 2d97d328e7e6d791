"""The arguments of a tool call, as models and engines write them: a JSON object, perhaps as a text, perhaps nothing."""

import msgspec

from ollama_proxyd.dialects.framing.jsonbody import object_in, readable
from ollama_proxyd.dialects.framing.lenient import loosely

_TEXT = msgspec.json.Decoder(str)
_EMPTY = "{}"


def object_of(arguments: str) -> bytes | None:
    """The JSON text of the object, as it was written where it can be; None where there is none."""
    text = arguments.strip()
    if text in {"", "null"}:
        return _EMPTY.encode()
    if text.startswith('"'):
        inner = readable(_TEXT, text.encode())
        return None if inner is None or inner.lstrip().startswith('"') else object_of(inner)
    if text != _EMPTY:  # some engines begin with an empty object, and then send the arguments
        text = text.removeprefix(_EMPTY)
    written = text.encode(errors="replace")
    if object_in(written) is not None:
        return written
    loose = loosely(written)
    return None if loose is None else msgspec.json.encode(loose)
