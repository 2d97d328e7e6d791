"""What clients of OpenAI's API read of an answer, as strictly as the strictest of them."""

from typing import Annotated, ClassVar

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import arguments_in, in_function, object_of
from ollama_proxyd.dialects.framing.parts import said_in, thought_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed
from ollama_proxyd.dialects.openai.answer import FAILURES, FINISH_REASONS, finish_reason

_ONCE_ENCODED = r'^(?!\s*($|"\s*(\{|\\")))'
"""How the text of arguments does not begin where they are an object; clients cannot read an empty one."""
_KNOWN_REASON = rf"^({'|'.join(FINISH_REASONS)})$"


def with_text_id(told: dict[str, Json]) -> dict[str, Json]:
    """The members with the id as a text, which some engines send as a number."""
    number = told.get("id")
    return {**told, "id": str(number)} if isinstance(number, int) else told


def with_id(told: dict[str, Json], made: str) -> dict[str, Json]:
    """The members with an id, made where there is none."""
    return told if told.get("id") else {**told, "id": made}


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
    if not isinstance(word, str) or not word:
        return {**told, "finish_reason": None} if "finish_reason" in told else told
    is_known = word in FINISH_REASONS or word in FAILURES
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
    id: str
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

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Calls have ids, by which clients answer them."""
        told = super().prepared(told)
        calls = told.get("tool_calls")
        if not isinstance(calls, list):
            return told
        named = [with_id(call, f"call_{at}") if isinstance(call, dict) else call for at, call in enumerate(calls)]
        return {**told, "tool_calls": named}


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
        """A whole answer that does not say why it ended has stopped."""
        told = _with_known_reason(told)
        message = {"message": _message_in(told, "message")} if isinstance(told.get("message"), str) else {}
        return {**told, **message, "finish_reason": told.get("finish_reason") or "stop"}


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


class _Text(_Answer, kw_only=True):
    choices: list[_TextChoice]


class Vector(Passed):
    """One vector of an answer."""

    embedding: msgspec.Raw
    index: int


class Vectors(_Answer, kw_only=True):
    """The answer to an embedding request."""

    data: list[Vector]


_AROUND = (b"data: ", b"\n\n")
_SPEAKS = ("choices", "usage", "timings")
CHUNKS = Form(_Chunk, _SPEAKS, _AROUND)
TEXTS = Form(_Text, _SPEAKS, _AROUND)
CHAT = Form(_Chat, ("choices",))
TEXT = Form(_Text, ("choices",))
