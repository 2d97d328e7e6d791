"""What becomes of each canonical option in a request to an Ollama backend."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json, Options
from ollama_proxyd.dialects.ollama.settings import CANONICAL_BY_OPTION

OPTION_BY_CANONICAL: Mapping[str, str] = {canonical: name for name, canonical in CANONICAL_BY_OPTION.items()}
"""Sent under `options`, by Ollama's name."""

TOP_LEVEL = frozenset({"keep_alive", "truncate", "shift", "dimensions"})
"""Sent beside the model, where the call has such a field; listed as ignored where it has none."""

DROPPED = frozenset({"user"})
"""Ollama has no such field and the answer is the same without it."""

OF_TOOLS = frozenset({"tool_choice", "parallel_tool_calls"})
"""About tools alone: the chat decides."""

HARMLESS: Mapping[str, tuple[Json, ...]] = {
    "n": (None, 1),
    "best_of": (None, 0, 1),
    "echo": (None, False),
    "logit_bias": (None, {}, []),
}
"""Ollama cannot do it: only a value that asks for nothing (these) is let through, any other is refused."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Options in the places where Ollama looks for them, and the names of those it has no place for."""

    fields: Mapping[str, Json]
    options: Mapping[str, Json]
    ignored: tuple[str, ...]


def place(given: Options, top_level: Collection[str]) -> Placed:
    """Sort the options; `top_level` are those that the call takes beside the model.

    A null asks for the default, so it is not sent. ProxyError(UNSUPPORTED) when one cannot be expressed.
    """
    fields: dict[str, Json] = {}
    options: dict[str, Json] = {}
    ignored: list[str] = []
    for name, value in given.known.items():
        if name in HARMLESS:
            if value not in HARMLESS[name]:
                refuse(given.name_of(name), value)
        elif value is None or name in OF_TOOLS:
            continue
        elif name in OPTION_BY_CANONICAL:
            options[OPTION_BY_CANONICAL[name]] = value
        elif name in top_level:
            fields[name] = value
        else:
            ignored.append(given.name_of(name))
    return Placed(fields, options, (*ignored, *given.unknown))


def refuse(name: str, value: Json) -> NoReturn:
    """The field changes the answer, and Ollama's API cannot express it."""
    shown = msgspec.json.encode(value).decode()[:80]
    raise ProxyError(
        ErrorKind.UNSUPPORTED,
        f"'{name}' is {shown}, which changes the answer and which the chosen backend (Ollama's API) cannot express; "
        "leave it out or name another backend",
        param=name,
    )
