"""Puts options into a client's body where its API has them, whatever the client wrote."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, decode_fields
from ollama_proxyd.dialects.framing.spellings import other_keys

Places: TypeAlias = Mapping[str, tuple[str, ...]]
"""Where an API has each canonical option: its keys, the preferred one first; one with a dot is in a section."""

NOWHERE: Places = {}

_SECTION = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_NULL = b"null"


def placed(body: bytes, places: Places, pinned: Mapping[str, Json], defaults: Mapping[str, Json]) -> bytes:
    """The body with these options; pinned ones in place of the client's, defaults where it has none.

    ProxyError where it is no JSON object. With a pinned one all goes by which an engine would take it from elsewhere.
    Keys in other letters go too: some engines read them without regard to case.
    """
    fields = decode_fields(body)
    own = frozenset(key.rpartition(".")[0] for keys in places.values() for key in keys)
    sections: dict[str, dict[str, msgspec.Raw]] = {"": fields}
    for options, is_pinned in ((pinned, True), (defaults, False)):
        for name, value in options.items():
            keys = places.get(name, ())
            if not keys or (not is_pinned and (name in pinned or _has(sections, fields, keys))):
                continue
            for key in (*keys, *(other_keys(name, keys, own) if is_pinned else ())):
                _remove(_section(sections, fields, key), key)
            _section(sections, fields, keys[0])[keys[0].rpartition(".")[2]] = msgspec.Raw(msgspec.json.encode(value))
    for name, section in sections.items():
        if name and section:
            fields[name] = msgspec.Raw(msgspec.json.encode(section))
    return msgspec.json.encode(fields)


def _section(
    sections: dict[str, dict[str, msgspec.Raw]], fields: dict[str, msgspec.Raw], key: str
) -> dict[str, msgspec.Raw]:
    """The part of the body that holds a key; one that is no object is left to the parser, which refuses it."""
    name = key.rpartition(".")[0]
    if name not in sections:
        try:
            sections[name] = _SECTION.decode(fields.get(name, msgspec.Raw(_NULL))) or {}
        except UNREADABLE:
            return {}
    return sections[name]


def _has(sections: dict[str, dict[str, msgspec.Raw]], fields: dict[str, msgspec.Raw], keys: tuple[str, ...]) -> bool:
    found = (_section(sections, fields, key).get(key.rpartition(".")[2]) for key in keys)
    return any(each is not None and bytes(each).strip() != _NULL for each in found)


def _remove(section: dict[str, msgspec.Raw], key: str) -> None:
    name = key.rpartition(".")[2].casefold()
    for each in [each for each in section if each.casefold() == name]:
        del section[each]
