"""The content of an answer's message: a text, or parts of several kinds."""

from collections.abc import Mapping
from typing import NamedTuple

from ollama_proxyd.core.requests import Json

_MOST_LEVELS = 4
_THINKING_KEYS = ("thinking", "reasoning", "summary")
_TEXT_KEYS = ("text", "content", "refusal", "value")


class Said(NamedTuple):
    """What a content says aloud, and what it says in thought."""

    text: str
    thinking: str


NOTHING = Said("", "")


def said_in(content: Json, levels: int = _MOST_LEVELS) -> Said:
    """The texts of a content in their order; parts that hold none say nothing."""
    if isinstance(content, str):
        return Said(content, "")
    if not levels or not content:
        return NOTHING
    if isinstance(content, list):
        parts = [said_in(part, levels - 1) for part in content]
        return Said("".join(part.text for part in parts), "".join(part.thinking for part in parts))
    return _said_in_part(content, levels) if isinstance(content, Mapping) else NOTHING


def thought_in(*told: Json) -> str:
    """The first thought that is told, as a text or in parts."""
    for each in told:
        said = NOTHING if not each else Said("", each) if isinstance(each, str) else said_in(each)
        if said.text or said.thinking:
            return said.thinking + said.text
    return ""


def _said_in_part(part: Mapping[str, Json], levels: int) -> Said:
    kind = part.get("type")
    is_thought = isinstance(kind, str) and kind.startswith(("thinking", "reasoning"))
    keys = (*_THINKING_KEYS, *_TEXT_KEYS) if is_thought else _TEXT_KEYS
    inner = next((part[key] for key in keys if part.get(key)), None)
    said = said_in(inner, levels - 1)
    return Said("", said.thinking + said.text) if is_thought else said
