"""What clients of OpenAI's API read of an answer, as strictly as the strictest of them."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import arguments_in, in_function, object_of
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.lenient import is_utf8, listed
from ollama_proxyd.dialects.framing.parts import said_in, thought_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed
from ollama_proxyd.dialects.framing.reported import FAILED_ENDINGS
from ollama_proxyd.dialects.openai.answer import FINISH_REASONS, finish_reason, is_reason

_ONCE_ENCODED = r'^(?!\s*($|"\s*(\{|\\")))'
"""How the text of arguments does not begin where they are an object; clients cannot read an empty one."""
_KNOWN_REASON = rf"^({'|'.join(FINISH_REASONS)})$"


def with_text_id(told: dict[str, Json]) -> dict[str, Json]:
    """The members with the id as a text, which some engines send as a number."""
    number = told.get("id")
    return {**told, "id": str(number)} if isinstance(number, int) else told


def _message_in(told: dict[str, Json], *names: str) -> Json:
    """A message, of which some engines send the text alone; empty where there is none."""
    for name in names:
        if isinstance(words := told.get(name), dict):
            return words
        if isinstance(words, str) and (words or name == names[-1]):
            return {"content": words}
    return {}


def _with_known_reason(told: dict[str, Json]) -> dict[str, Json]:
    """The choice with its reason in OpenAI's words, which strict clients have a list of."""
    word = told.get("finish_reason")
    if not isinstance(word, str) or not is_reason(word):
        return {**told, "finish_reason": None} if "finish_reason" in told else told
    is_known = word in FINISH_REASONS or word in FAILED_ENDINGS
    return told if is_known else {**told, "finish_reason": finish_reason(word).value}


class _Function(Passed):
    name: str | None = None
    arguments: str | None = None
    parameters: None = None
    input: None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Arguments as text, which some engines send as an object."""
        told = arguments_in(told)
        arguments = told.get("arguments")
        written = {"arguments": msgspec.json.encode(arguments).decode()} if isinstance(arguments, dict) else {}
        return {**told, **written}


class _WholeFunction(_Function, kw_only=True):
    arguments: Annotated[str, msgspec.Meta(pattern=_ONCE_ENCODED)]
    stand_ins: ClassVar = {"arguments": "{}"}

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Arguments as the text of an object, which some engines encode twice."""
        told = super().prepared(told)
        arguments = object_of(written) if isinstance(written := told.get("arguments"), str) else None
        return told if arguments is None else {**told, "arguments": arguments.decode()}


class _Call(Passed):
    function: _Function | None = None
    index: int | None = None
    id: str | None = None
    type: str | None = None
    name: None = None
    arguments: None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Ids are texts; what is called stands in the function, which some engines leave out."""
        return with_text_id(in_function(told))


class _WholeCall(_Call, kw_only=True):
    function: _WholeFunction | None = None
    id: Annotated[str, msgspec.Meta(min_length=1)]
    type: str
    stand_ins: ClassVar = {"type": "function"}


class _Words(Passed):
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The texts of what is said and thought in parts."""
        thought = {name: thought_in(told[name]) for name in _THOUGHTS if isinstance(told.get(name), list | dict)}
        told = {**told, **thought}
        if not isinstance(told.get("content"), list | dict):
            return told
        said = said_in(told["content"])
        return {**told, "content": said.text, **({"reasoning_content": said.thinking} if said.thinking else {})}


_THOUGHTS = ("reasoning_content", "reasoning")


class _Message(_Words):
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _WholeMessage(_Words):
    tool_calls: list[_WholeCall] | None = None
    function_call: _WholeFunction | None = None


class _Choice(Passed):
    index: int
    finish_reason: Annotated[str, msgspec.Meta(pattern=_KNOWN_REASON)] | None = None
    error: None = None
    stand_ins: ClassVar = {"index": 0, "delta": {}, "text": ""}


class _Piece(_Choice, kw_only=True):
    delta: _Message

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have in a stream of a chat."""
        return {**_with_known_reason(told), "delta": _message_in(told, "delta", "message", "text")}


class _ChatChoice(_Choice, kw_only=True):
    message: _WholeMessage

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A whole answer that does not say why it ended has stopped, and one with calls waits for their results."""
        told = _with_known_reason(told)
        message = _message_in(told, "message")
        reason = told.get("finish_reason") or "stop"
        reason = "tool_calls" if reason == "stop" and message.get("tool_calls") else reason
        return {**told, **({"message": message} if message else {}), "finish_reason": reason}


class _TextChoice(_Choice, kw_only=True):
    text: str

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have outside chats."""
        told = _with_known_reason(told)
        if isinstance(told.get("text"), str):
            return told
        words = next(
            (told[name] for name in ("delta", "message") if isinstance(told.get(name), dict | str)), told.get("text")
        )
        return {**told, "text": said_in(words).text}


class _Usage(Passed):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None


class _Answer(Passed):
    error: None = None
    id: str | None = None
    object: str | None = None
    model: str = ""
    created: Count | None = None
    usage: _Usage | None = None
    stand_ins: ClassVar = {"choices": []}

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The answer alone, where others have wrapped it, and its id as a text."""
        if "choices" not in told:
            inner = [each for each in told.values() if isinstance(each, dict) and "choices" in each]
            told = inner[0] if len(inner) == 1 else told
        return with_text_id(told)


class _Chunk(_Answer, kw_only=True):
    choices: list[_Piece]


class _Chat(_Answer, kw_only=True):
    choices: list[_ChatChoice]

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The answer with an id for each of its calls, by which their results are told apart."""
        told = super().prepared(told)
        for number, calls in enumerate(_calls_in(told)):
            taken = set[str]()
            for at, call in enumerate(calls):
                told_id = with_text_id(call).get("id")
                is_told = isinstance(told_id, str) and told_id and told_id not in taken
                call["id"] = told_id if is_told else f"call_{told.get('id')}_{number}_{at}"
                taken.add(call["id"])
        return told


class _Text(_Answer, kw_only=True):
    choices: list[_TextChoice]


class Vector(Passed):
    """One vector of an answer."""

    embedding: msgspec.Raw
    index: int


class Vectors(_Answer, kw_only=True):
    """The answer to an embedding request."""

    data: list[Vector]


class _Chats(Form):
    """Whole answers in a chat; clients tell calls apart by their ids, and act on them where the reason says so."""

    def is_strict(self, payload: bytes) -> bool:
        """Whether every client reads the object that a payload is."""
        found = readable(_CHATS, payload)
        return found is not None and is_utf8(payload) and not any(map(_misleads, found.choices))


def _misleads(choice: _ChatChoice) -> bool:
    calls = choice.message.tool_calls or ()
    return bool(calls) and (len({call.id for call in calls}) < len(calls) or choice.finish_reason == "stop")


def _calls_in(told: dict[str, Json]) -> Iterator[list[dict[str, Json]]]:
    """The calls of each choice."""
    for choice in listed(told.get("choices") or []):
        message = choice.get("message") if isinstance(choice, dict) else None
        calls = listed(message.get("tool_calls") or []) if isinstance(message, dict) else ()
        yield [call for call in calls if isinstance(call, dict)]


_CHATS = msgspec.json.Decoder(_Chat)
_AROUND = (b"data: ", b"\n\n")
_SPEAKS = ("choices", "usage", "timings")
CHUNKS = Form(_Chunk, _SPEAKS, _AROUND)
TEXTS = Form(_Text, _SPEAKS, _AROUND)
CHAT = _Chats(_Chat, ("choices",))
TEXT = Form(_Text, ("choices",))
