"""What clients of OpenAI's API read of an answer, as strictly as the strictest of them."""

from typing import ClassVar

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.parts import said_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed


class _Function(Passed):
    name: str | None = None
    arguments: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Arguments as text, which some engines send as an object."""
        arguments = told.get("arguments")
        written = {"arguments": msgspec.json.encode(arguments).decode()} if isinstance(arguments, dict) else {}
        return {**told, **written}


class _Call(Passed):
    function: _Function | None = None
    index: int | None = None
    id: str | None = None
    type: str | None = None


class _Message(Passed):
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The texts of a content in parts."""
        if not isinstance(told.get("content"), list | dict):
            return told
        said = said_in(told["content"])
        thought = {"reasoning_content": said.thinking} if said.thinking else {}
        return {**told, "content": said.text, **thought}


class _Choice(Passed):
    index: int
    finish_reason: str | None = None
    stand_ins: ClassVar = {"index": 0, "delta": {}, "text": ""}


class _Piece(_Choice, kw_only=True):
    delta: _Message

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have in a stream of a chat."""
        words = next((told[name] for name in ("delta", "message") if isinstance(told.get(name), dict)), None)
        if words is None and isinstance(told.get("text"), str):
            words = {"content": told["text"]}
        return {**told, "delta": {} if words is None else words}


class _ChatChoice(_Choice, kw_only=True):
    message: _Message

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A whole answer that does not say why it ended has stopped."""
        return told if isinstance(told.get("finish_reason"), str) else {**told, "finish_reason": "stop"}


class _TextChoice(_Choice, kw_only=True):
    text: str

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The words under the name that they have outside chats."""
        if isinstance(told.get("text"), str):
            return told
        words = next(
            (told[name] for name in ("delta", "message") if isinstance(told.get(name), dict)), told.get("text")
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
        """Ids are texts, which some engines send as numbers."""
        number = told.get("id")
        return {**told, "id": str(number)} if isinstance(number, int) else told


class _Chunk(_Answer, kw_only=True):
    choices: list[_Piece]


class _Chat(_Answer, kw_only=True):
    choices: list[_ChatChoice]


class _Text(_Answer, kw_only=True):
    choices: list[_TextChoice]


class _Vectors(Passed):
    data: list[msgspec.Raw]


_AROUND = (b"data: ", b"\n\n")
_SPEAKS = ("choices", "usage", "timings")
CHUNKS = Form(_Chunk, _SPEAKS, _AROUND)
TEXTS = Form(_Text, _SPEAKS, _AROUND)
CHAT = Form(_Chat, ("choices",))
TEXT = Form(_Text, ("choices",))
VECTORS = Form(_Vectors, ("data",))
