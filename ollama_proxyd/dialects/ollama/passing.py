"""What clients of Ollama's API read of an answer, as strictly as the strictest of them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import arguments_in, in_function, object_of
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.lenient import is_utf8
from ollama_proxyd.dialects.framing.parts import said_in, thought_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed
from ollama_proxyd.dialects.framing.reported import FAILED_ENDINGS
from ollama_proxyd.dialects.framing.vectors import is_vector
from ollama_proxyd.dialects.ollama.answer import LOADS


class _Function(Passed):
    name: str
    arguments: dict[str, Json]
    parameters: None = None
    input: None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Arguments as an object, which some servers send as text or leave out; a call that was cut in them is none."""
        told = arguments_in(told)
        written = told.get("arguments") or ""
        if isinstance(written, dict):
            return told
        arguments = object_of(written) if isinstance(written, str) else None
        return {} if arguments is None else {**told, "arguments": msgspec.json.decode(arguments)}


class _Call(Passed):
    function: _Function
    id: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """What is called stands in the function, which some servers leave out."""
        return in_function(told)


class _Message(Passed):
    role: str
    content: str
    thinking: str | None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: list[_Call] | None = None
    stand_ins: ClassVar = {"role": "assistant", "content": ""}

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The texts of a content in parts."""
        thought = told.get("thinking") or told.get("reasoning") or told.get("reasoning_content")
        if thought and not told.get("thinking"):
            told = {**told, "thinking": thought if isinstance(thought, str) else thought_in(thought)}
        if not isinstance(told.get("content"), list | dict):
            return told
        said = said_in(told["content"])
        return {**told, "content": said.text, **({"thinking": said.thinking} if said.thinking else {})}


_GOOD_ENDING = rf"^(?!({'|'.join(FAILED_ENDINGS)})$)"


class _Line(Passed, kw_only=True):
    done: bool
    error: None = None
    model: str = ""
    created_at: str | None = None
    done_reason: Annotated[str, msgspec.Meta(pattern=_GOOD_ENDING)] | None = None
    total_duration: Count | None = None
    load_duration: Count | None = None
    prompt_eval_count: Count | None = None
    prompt_eval_duration: Count | None = None
    eval_count: Count | None = None
    eval_duration: Count | None = None
    stand_ins: ClassVar = {"done": False}


class _Chat(_Line, kw_only=True):
    message: _Message

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The last line has a message, as clients expect."""
        words = (told.get("message") if "done" in told else None) or told.get("response")
        if isinstance(told.get("message"), dict):
            return told
        is_said = isinstance(words, str) or told.get("done")
        return {**told, "message": {"role": "assistant", "content": words or ""}} if is_said else told


class _Generated(_Line, kw_only=True):
    response: str
    thinking: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The last line has a response, as clients expect."""
        if isinstance(told.get("response"), str):
            return told
        message = told.get("message") if "done" in told else None
        words = said_in(message if isinstance(message, dict | str) else told.get("response")).text
        return {**told, "response": words} if words or told.get("done") else told


def _says(told: dict[str, Json]) -> bool:
    """Whether a whole answer has something to say, be it empty, or nothing was to be said."""
    return not {"message", "response"}.isdisjoint(told) or told.get("done_reason") in LOADS


class _WholeChat(_Chat, kw_only=True):
    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Unlike the last line, a whole answer has the words."""
        return super().prepared(told) if _says(told) else told


class _WholeGenerated(_Generated, kw_only=True):
    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """Unlike the last line, a whole answer has the words."""
        return super().prepared(told) if _says(told) else told


class _Vectors(Passed):
    embeddings: list[msgspec.Raw]

    @property
    def vectors(self) -> list[msgspec.Raw]:
        """One for each text."""
        return self.embeddings


class _Vector(Passed):
    embedding: msgspec.Raw

    @property
    def vectors(self) -> list[msgspec.Raw]:
        """The only one."""
        return [self.embedding]


class PassedVectors(Form):
    """A vector for each of so many texts; others are read, and written anew."""

    def __init__(self, endpoint: str, texts: int) -> None:
        kind: type[_Vectors | _Vector] = _Vectors if endpoint == "embed" else _Vector
        super().__init__(kind, kind.__struct_fields__)
        self._vectors: msgspec.json.Decoder[_Vectors | _Vector] = msgspec.json.Decoder(kind)
        self._texts = texts

    def is_strict(self, payload: bytes) -> bool:
        """Whether every client reads the vectors."""
        found = readable(self._vectors, payload)
        if found is None or len(found.vectors) != self._texts:
            return False
        return is_utf8(payload) and all(map(is_vector, found.vectors))

    def mended(self, payload: bytes, known: Mapping[str, Json]) -> bytes | None:  # noqa: ARG002 - see Form
        """Nothing: what is odd is read as for clients of other APIs."""
        return None


_AROUND = (b"", b"\n")
FORMS = {
    "chat": Form(_Chat, ("message",), _AROUND),
    "generate": Form(_Generated, ("response", "thinking", "done"), _AROUND),
    "embed": Form(_Vectors, ("embeddings",)),
    "embeddings": Form(_Vector, ("embedding",)),
}
WHOLE_FORMS = {
    **FORMS,
    "chat": Form(_WholeChat, ("message",)),
    "generate": Form(_WholeGenerated, ("response", "thinking", "done")),
}
