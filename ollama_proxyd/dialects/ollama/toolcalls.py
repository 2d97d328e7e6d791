"""Gathers the fragments in which other engines send tool calls, since Ollama's clients expect them whole."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import ToolCallDelta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.wording import one_line
from ollama_proxyd.dialects.framing.limits import MOST_ARGUMENTS_CHARACTERS
from ollama_proxyd.dialects.ollama.lines import Function, ToolCall

_OBJECT = msgspec.json.Decoder(dict[str, Json])


class ToolCalls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: dict[int, _Gathered] = {}
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, pieces: Iterable[ToolCallDelta]) -> None:
        """Take in fragments; those of one index belong together."""
        for piece in pieces:
            self._characters += len(piece.arguments)
            if self._characters > MOST_ARGUMENTS_CHARACTERS:
                message = f"the model called tools with more than {MOST_ARGUMENTS_CHARACTERS} characters of arguments"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            self._calls.setdefault(piece.index, _Gathered()).add(piece)

    def whole(self) -> list[ToolCall] | None:
        """The calls, None when there are none; ProxyError when the model did not write an object as arguments."""
        return [call.whole(index) for index, call in enumerate(self._calls.values())] or None


class _Gathered:
    def __init__(self) -> None:
        self._id: str | None = None
        self._name: str = ""
        self._arguments: list[str] = []

    def add(self, piece: ToolCallDelta) -> None:
        self._id = piece.id or self._id
        self._name = piece.name or self._name
        self._arguments.append(piece.arguments)

    def whole(self, index: int) -> ToolCall:
        arguments = "".join(self._arguments).strip().encode() or b"{}"
        try:
            _OBJECT.decode(arguments)
        except (msgspec.DecodeError, RecursionError) as error:
            message = f"the model called '{one_line(self._name)}' with arguments that are not a JSON object"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message) from error
        return ToolCall(id=self._id, function=Function(index, self._name, msgspec.Raw(arguments)))
