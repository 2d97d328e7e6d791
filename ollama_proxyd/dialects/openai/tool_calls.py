"""Pieces of tool calls from engines that number them badly or not at all."""

import msgspec

from ollama_proxyd.core.events import ToolCallDelta
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.openai.frames import ToolCall


class CallNumbers:
    """Gives every piece the index of the call that it belongs to."""

    def __init__(self) -> None:
        self._ids: dict[int, str | None] = {}

    def number(self, piece: ToolCall) -> ToolCallDelta:
        """The piece under its call's index; its id and name only where a call begins."""
        name = piece.function.name if piece.function else None
        arguments = piece.function.arguments if piece.function else None
        index = self._index_of(piece, name)
        begins = index not in self._ids
        if begins:
            if len(self._ids) >= MOST_CALLS:
                raise too_many_calls()
            self._ids[index] = piece.id
        return ToolCallDelta(
            index=index,
            id=piece.id if begins else None,
            name=name if begins else None,
            arguments=_text_of(arguments),
        )

    def _index_of(self, piece: ToolCall, name: str | None) -> int:
        following = max(self._ids, default=-1) + 1
        if piece.index is not None:
            known = self._ids.get(piece.index)
            another = bool(name and piece.id and known and known != piece.id)
            return following if another else piece.index
        for index, call_id in self._ids.items():
            if piece.id and call_id == piece.id:
                return index
        return following if name or not self._ids else following - 1


def _text_of(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()
