"""Whole messages of engines that are asked for a stream: only while they stream do they notice that a client left."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.events import Delta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.decode import EventDecoder
from ollama_proxyd.dialects.anthropic.passing import MESSAGE, with_stop
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.numbers import count

_NOTHING: Mapping[str, Json] = {}
_GROW = ("text", "thinking", "signature", "partial_json")


class _Block:
    """A block of a message, and the pieces of its texts."""

    def __init__(self, begun: Mapping[str, Json]) -> None:
        self._begun = begun
        self._pieces: dict[str, list[str]] = {}

    def add(self, told: Mapping[str, Json]) -> None:
        """Take in what a delta says."""
        for name in _GROW:
            piece = told.get(name)
            if isinstance(piece, str):
                self._pieces.setdefault(name, []).append(piece)

    def whole(self) -> Json:
        """The block as a whole message has it; of a call that the limit cut, the arguments are left out."""
        grown = {name: "".join(pieces) for name, pieces in self._pieces.items()}
        arguments = object_of(grown.pop("partial_json", ""))
        kind = self._begun.get("type")
        if kind == "tool_use":
            given = self._begun.get("input")
            return {**self._begun, "input": msgspec.Raw(arguments) if arguments not in {None, b"{}"} else given or {}}
        if kind == "thinking":
            grown.setdefault("signature", "")
        begun = {name: value for name, value in self._begun.items() if name not in grown}
        before = {
            name: f"{text if isinstance(text := self._begun.get(name), str) else ''}{grown[name]}" for name in grown
        }
        return {**begun, **before}


class Joiner(EventDecoder):
    """Puts the events of one message together, as the engine itself would have written it in one piece."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self._renamed: Mapping[str, Json] = {} if name is None else {"model": name}
        self._message: dict[str, Json] = {}
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, Json] = {}

    def read(self, payload: bytes) -> Delta | None:
        """What one event says, which is kept."""
        piece = super().read(payload)
        told = _object(object_in(payload) or lenient.loosely(payload))
        message, block, delta = (_object(told.get(name)) for name in ("message", "content_block", "delta"))
        self._message |= message
        self._counts |= {**_object(message.get("usage")), **_object(told.get("usage"))}
        at = count(told.get("index")) or 0
        if block:
            self._blocks[at] = _Block(block)
        if told.get("type") == "content_block_delta":
            self._blocks.setdefault(at, _Block({"type": "text"})).add(delta)
        elif "stop_reason" in delta:
            self._message |= delta
        return piece

    @property
    def closing(self) -> bytes:
        """The whole message, with the engine's own fields as far as every client reads them."""
        blocks = [self._blocks[at].whole() for at in sorted(self._blocks)]
        told = {"id": "", "type": "message", "role": "assistant", **self._message, **self._renamed}
        told = {**with_stop(told), "content": blocks, "usage": self._counts}
        return MESSAGE.kept(msgspec.json.encode(told), self._renamed)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else _NOTHING
