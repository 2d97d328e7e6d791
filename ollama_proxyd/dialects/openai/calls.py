"""Which call each piece of a tool call belongs to: by id and index where they tell calls apart, else by the order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ollama_proxyd.core.events import ToolCallDelta
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.openai.answer import AnswerCall, AnswerMessage

_MOST_CHECKED_CHARACTERS = 1_000_000
"""Longer arguments count as unfinished: reading them again at each name would take too long."""

_ENDS = ("}", '"')
"""How an object ends, and one that is encoded twice."""


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
        if not self.arguments or not self.arguments[-1].rstrip().endswith(_ENDS):
            return False
        text = "".join(self.arguments)
        return len(text) <= _MOST_CHECKED_CHARACTERS and object_of(text) is not None

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
        return tuple(piece for piece in self.numbered(_entries(message)) if piece is not None)

    def numbered(self, pieces: Sequence[AnswerCall]) -> list[ToolCallDelta | None]:
        """Each piece under its call's number, None for one that says nothing."""
        found, named = list[ToolCallDelta | None](), set[int]()
        for at, piece in enumerate(pieces):
            index = count(piece.index)
            if index is None and len(pieces) > 1:
                index = at
            name, arguments = content_of(piece)
            piece_id = id_of(piece)
            if not (name or arguments or piece_id):
                found.append(None)
                continue
            call = self._known(piece_id, index)
            if call is None and not name and not piece_id and self._calls and not self._calls[-1].has_ended():
                call = self._calls[-1]  # of an index that began nothing
            if call is None or (name and call.number in named) or _begins_another(call, piece_id, name, arguments):
                call = self._begun(index)
            if name:
                named.add(call.number)
            is_taken = any(other.id == piece_id for other in self._calls if other is not call)
            found.append(call.take(None if is_taken else piece_id, name, arguments))
        return found

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
    pieces = _entries(message)
    if len(pieces) > MOST_CALLS:
        raise too_many_calls()
    found: dict[str | int, ToolCallDelta] = {}
    for number, piece in enumerate(pieces):
        told = id_of(piece)
        call_id = None if told in found else told  # an id of another call would mix up their results
        name, text = content_of(piece)
        found[call_id or number] = ToolCallDelta(number, call_id, name or None, text)
    return tuple(found.values())


def _entries(message: AnswerMessage) -> Sequence[AnswerCall]:
    if message.tool_calls:
        return message.tool_calls
    return [AnswerCall(function=message.function_call)] if message.function_call else ()


def id_of(piece: AnswerCall) -> str | None:
    """The id, which some engines send as a number; None where there is none."""
    told = piece.id
    is_told = isinstance(told, str | int) and not isinstance(told, bool)
    return str(told) or None if is_told else None


def content_of(piece: AnswerCall) -> tuple[str, str]:
    """The name and the text of the arguments, empty where there is none."""
    function = piece.called
    arguments = function.told
    if arguments is None or isinstance(arguments, str):
        return function.name or "", arguments or ""
    return function.name or "", msgspec.json.encode(arguments).decode()
