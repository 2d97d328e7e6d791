"""Tool calls in a stream that passes to clients of OpenAI's API: as those put them together."""

import msgspec

from ollama_proxyd.core.events import ToolCallDelta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.jsonbody import object_in, present
from ollama_proxyd.dialects.framing.limits import MOST_ARGUMENTS_CHARACTERS, check_answers
from ollama_proxyd.dialects.openai.answer import AnswerCall
from ollama_proxyd.dialects.openai.calls import CallNumbers

_MARK = b"_call"
"""Occurs in each frame with tool calls or a function_call."""
_STOP = b'"stop"'
"""Occurs in each frame that ends an answer by a reason which does not tell of its calls."""
_OWN = frozenset({"index", "id", "type", "function"})


class PassedCalls:
    """The calls of one answer: clients put pieces of one index together, so each thing is told once, under its number.

    has_tools: whether the client asked with tools, and so reads tool_calls alone.
    """

    __slots__ = ("_answer_id", "_choices", "_has_tools")

    def __init__(self, answer_id: str, *, has_tools: bool) -> None:
        self._answer_id, self._has_tools = answer_id, has_tools
        self._choices: dict[int, _Calls] = {}

    def concern(self, block: bytes) -> bool:
        """Whether a block may have to be written anew."""
        if block.find(_MARK) >= 0:
            return True
        return bool(self._choices) and (block.find(_STOP) >= 0 or any(calls.held for calls in self._choices.values()))

    def mended(self, payload: bytes) -> bytes:
        """The frame as clients need it; the same object where it is so already."""
        told = object_in(payload) or {}
        was_changed = False
        for choice in told.get("choices") or ():
            delta = choice["delta"]
            was_changed |= self._has_tools and _rename(choice, delta)
            calls = self._choices.get(choice["index"]) or _Calls(self._answer_id)
            self._choices[choice["index"]] = calls
            check_answers(len(self._choices))
            was_changed |= calls.mend(delta, is_last=bool(choice.get("finish_reason")))
            if calls.begun and choice.get("finish_reason") == "stop":
                choice["finish_reason"] = "tool_calls"
                was_changed = True
        return msgspec.json.encode(told) if was_changed else payload


class _Calls:
    """The calls of one choice, of which `begun` have begun.

    `held` has the beginnings of arguments that are encoded twice, by the calls' numbers.
    """

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._numbers = CallNumbers()
        self.begun = 0
        self._with_arguments = set[int]()
        self.held: dict[int, str] = {}

    def mend(self, delta: dict[str, Json], *, is_last: bool) -> bool:
        """Write the calls in a delta as clients need them; whether that was another way than they were written."""
        wire = delta.get("tool_calls") or []
        if any("function" not in each and each.keys() - _OWN for each in wire):
            return False  # of tools that are no functions
        numbered = self._numbers.numbered(msgspec.convert(wire, list[AnswerCall]))
        written = [self._written(each, said) for each, said in zip(wire, numbered, strict=True) if said is not None]
        if is_last:
            written += [{"index": number, "function": {"arguments": text}} for number, text in self.held.items()]
            self.held.clear()
        if list(map(_told, written)) == list(map(_told, wire)):
            return False
        delta["tool_calls"] = written
        return True

    def _written(self, wire: dict[str, Json], said: ToolCallDelta) -> dict[str, Json]:
        """A piece under its call's number; an id stands in the first one."""
        begins: dict[str, Json] = {}
        if said.index >= self.begun:
            self.begun = said.index + 1
            begins = {"id": said.id or f"call_{self._answer_id}_{said.index}", "type": "function"}
        function = present(name=said.name, arguments=self._once_encoded(said))
        others = {name: value for name, value in wire.items() if name not in _OWN}
        return {"index": said.index, **begins, "function": function, **others}

    def _once_encoded(self, said: ToolCallDelta) -> str:
        """The piece of the arguments; some that are encoded twice come whole with their end."""
        text = self.held.pop(said.index, "") + said.arguments
        if said.index in self._with_arguments or not text:
            return text
        if text.lstrip().startswith('"'):
            whole = object_of(text) if text.rstrip().endswith('"') else None
            if whole is None and len(text) < MOST_ARGUMENTS_CHARACTERS:
                self.held[said.index] = text
                return ""
            text = text if whole is None else whole.decode()
        self._with_arguments.add(said.index)
        return text


def _rename(choice: dict[str, Json], delta: dict[str, Json]) -> bool:
    """Tell a single call of the old form as clients with tools read it; whether there was one."""
    is_last = choice.get("finish_reason") == "function_call"
    if is_last:
        choice["finish_reason"] = "tool_calls"
    is_told = delta.get("function_call") is not None and not delta.get("tool_calls")
    if is_told:
        delta["tool_calls"] = [{"function": delta.pop("function_call")}]
    return is_last or is_told


def _told(piece: dict[str, Json]) -> tuple[Json, ...]:
    """What clients take in of a piece."""
    function = piece.get("function") or {}
    return piece.get("index"), piece.get("id"), function.get("name") or "", function.get("arguments") or ""
