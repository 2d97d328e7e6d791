"""Which call each piece of a tool call belongs to: by id and index where they tell calls apart, else by the order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ollama_proxyd.core.events import ToolCallDelta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.lenient import is_object
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.openai.answer import AnswerCall, AnswerMessage

_MOST_CHECKED_CHARACTERS = 1_000_000
"""Longer arguments count as unfinished: reading them again at each name would take too long."""


@dataclass(slots=True)
class _Call:
    """A call as far as it has come."""

    number: int
    index: int | None
    id: str | None = None
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def has_ended(self) -> bool:
        """Whether its arguments are complete."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        text = "".join(self.arguments)
        return len(text) <= _MOST_CHECKED_CHARACTERS and is_object(text.encode())

    def take(self, piece_id: str | None, name: str, arguments: str) -> ToolCallDelta:
        """Add a piece; what it says again is left out."""
        new_id = piece_id if self.id is None else None
        new_name = name.removeprefix(self.name)
        self.id = self.id or piece_id
        self.name += new_name
        if arguments:
            self.arguments.append(arguments)
        return ToolCallDelta(self.number, new_id, new_name or None, arguments)


class CallNumbers:
    """Numbers the calls of one answer in the order in which they began."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def pieces(self, message: AnswerMessage) -> tuple[ToolCallDelta, ...]:
        """The pieces in one frame, each under its call's number."""
        if message.tool_calls:
            return self._numbered(message.tool_calls)
        return self._numbered([AnswerCall(function=message.function_call)]) if message.function_call else ()

    def _numbered(self, pieces: Sequence[AnswerCall]) -> tuple[ToolCallDelta, ...]:
        found, named = [], set[int]()
        for at, piece in enumerate(pieces):
            index = _whole(piece.index)
            if index is None and len(pieces) > 1:
                index = at
            name, arguments = _content(piece)
            if not (name or arguments or piece.id):
                continue
            call = self._known(piece.id or None, index)
            if call is None and not name and not piece.id and self._calls and not self._calls[-1].has_ended():
                call = self._calls[-1]  # of an index that began nothing
            if call is None or (name and call.number in named) or _begins_another(call, piece.id, name, arguments):
                call = self._begun(index)
            if name:
                named.add(call.number)
            found.append(call.take(piece.id or None, name, arguments))
        return tuple(found)

    def _known(self, piece_id: str | None, index: int | None) -> _Call | None:
        """The latest call with the id and the index, as far as both are told; else with the index; else the latest."""
        fits = [call for call in self._calls if index is None or call.index == index]
        return next((call for call in reversed(fits) if piece_id and call.id == piece_id), fits[-1] if fits else None)

    def _begun(self, index: int | None) -> _Call:
        if len(self._calls) >= MOST_CALLS:
            raise too_many_calls()
        self._calls.append(_Call(len(self._calls), index))
        return self._calls[-1]


def _begins_another(call: _Call, piece_id: str | None, name: str, arguments: str) -> bool:
    """Whether a piece that would fit a call begins another one.

    A new id does with a name, or where the call has ended; without, some engines make an id for each piece. A new name
    does unless the call still waits for its arguments, when it is the name's next part.
    """
    if piece_id and call.id and piece_id != call.id:
        return bool(name) or not arguments or call.has_ended()
    if name and call.name and call.arguments:
        return name != call.name or (bool(arguments) and call.has_ended())
    return not name and arguments.lstrip().startswith("{") and call.arguments != ["{}"] and call.has_ended()


def whole_calls(message: AnswerMessage) -> tuple[ToolCallDelta, ...]:
    """The calls of a whole message: each entry is one, whatever its index."""
    pieces = message.tool_calls or ([AnswerCall(function=message.function_call)] if message.function_call else [])
    if len(pieces) > MOST_CALLS:
        raise too_many_calls()
    numbered = ((number, piece.id or None, *_content(piece)) for number, piece in enumerate(pieces))
    return tuple(ToolCallDelta(number, call_id, name or None, text) for number, call_id, name, text in numbered)


def _whole(index: Json) -> int | None:
    """The index as a number, None where it is none."""
    if isinstance(index, str):
        index = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else None
    return count(index)


def _content(piece: AnswerCall) -> tuple[str, str]:
    """The name and the text of the arguments, empty where there is none."""
    function = piece.function
    if function is None:
        return "", ""
    arguments = function.arguments
    if arguments is None or isinstance(arguments, str):
        return function.name or "", arguments or ""
    return function.name or "", msgspec.json.encode(arguments).decode()
