"""What clients of OpenAI's API read of an answer, as strictly as the strictest of them."""

from typing import Annotated, ClassVar

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.parts import said_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed
from ollama_proxyd.dialects.openai.answer import FAILURES

_ONCE_ENCODED = r'^(?!\s*"\s*(\{|\\"))'
"""How the text of arguments does not begin where they are an object."""
_NO_FAILURE = rf"^(?!({'|'.join(FAILURES)})$)"


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


class _Function(Passed):
    name: str | None = None
    arguments: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Arguments as text, which some engines send as an object."""
        arguments = told.get("arguments")
        written = {"arguments": msgspec.json.encode(arguments).decode()} if isinstance(arguments, dict) else {}
        return {**told, **written}


class _WholeFunction(_Function):
    arguments: Annotated[str, msgspec.Meta(pattern=_ONCE_ENCODED)] | None = None
    stand_ins: ClassVar = {"arguments": ""}

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

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Ids are texts."""
        return with_text_id(told)


class _WholeCall(_Call):
    function: _WholeFunction | None = None


class _Words(Passed):
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The texts of a content in parts."""
        if not isinstance(told.get("content"), list | dict):
            return told
        said = said_in(told["content"])
        thought = {"reasoning_content": said.thinking} if said.thinking else {}
        return {**told, "content": said.text, **thought}


class _Message(_Words):
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _WholeMessage(_Words):
    tool_calls: list[_WholeCall] | None = None
    function_call: _WholeFunction | None = None


class _Choice(Passed):
    index: int
    finish_reason: Annotated[str, msgspec.Meta(pattern=_NO_FAILURE)] | None = None
    error: None = None
    stand_ins: ClassVar = {"index": 0, "delta": {}, "text": ""}


class _Piece(_Choice, kw_only=True):
    delta: _Message

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have in a stream of a chat."""
        return {**told, "delta": _message_in(told, "delta", "message", "text")}


class _ChatChoice(_Choice, kw_only=True):
    message: _WholeMessage

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A whole answer that does not say why it ended has stopped."""
        reason = told.get("finish_reason")
        message = {"message": _message_in(told, "message")} if isinstance(told.get("message"), str) else {}
        return {**told, **message, "finish_reason": reason if isinstance(reason, str) else "stop"}


class _TextChoice(_Choice, kw_only=True):
    text: str

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have outside chats."""
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
