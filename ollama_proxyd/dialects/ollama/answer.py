"""What an Ollama engine answers, and what it means."""

import msgspec

from ollama_proxyd.core.events import Finished, FinishReason, Timings, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.logprobs import AnswerToken
from ollama_proxyd.dialects.framing.numbers import seconds, token_count
from ollama_proxyd.dialects.framing.reported import Report, failed_ending

_S_PER_NS = 1e-9
_NOTHING = msgspec.Raw(b"")
_SAY_NOTHING = (b"", b"null", b'""', b"{}", b'"{}"')
_TEXT = msgspec.json.Decoder(str)
_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "load": FinishReason.LOAD,
    "unload": FinishReason.UNLOAD,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class NativeAnswerFunction(msgspec.Struct):
    """What a tool call calls; the arguments stay the backend's own text."""

    name: str = ""
    arguments: msgspec.Raw = _NOTHING
    parameters: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING

    def arguments_text(self) -> str:
        """The JSON text of an object, which some servers send as a text; an absent or null one has no members."""
        text = self._told().decode(errors="replace")
        if (whole := object_of(text)) is not None:
            return whole.decode()
        return readable(_TEXT, text) or text

    @property
    def says_nothing(self) -> bool:
        """Whether it neither names what is called nor adds to its arguments."""
        return not self.name and not self._told()

    def _told(self) -> bytes:
        named = map(bytes, (self.arguments, self.parameters, self.input))
        return next((each for each in named if each not in _SAY_NOTHING), b"")


class NativeAnswerCall(msgspec.Struct):
    """One whole tool call; not every version gives it an id."""

    function: NativeAnswerFunction | None = None
    id: str | None = None
    name: str = ""
    arguments: msgspec.Raw = _NOTHING

    @property
    def called(self) -> NativeAnswerFunction:
        """What is called; some engines have it beside the id."""
        return self.function or NativeAnswerFunction(self.name, self.arguments)


class NativeAnswerMessage(msgspec.Struct):
    """What the model said in a chat."""

    content: Json = None
    thinking: Json = None
    reasoning: Json = None
    reasoning_content: Json = None
    tool_calls: tuple[NativeAnswerCall, ...] | None = None


class NativeCounters(Report):
    """What every last object holds; no number is worth an answer, so any value is taken and read later."""

    done: bool | None = None
    done_reason: str | None = None
    total_duration: Json = None
    load_duration: Json = None
    prompt_eval_count: Json = None
    prompt_eval_duration: Json = None
    eval_count: Json = None
    eval_duration: Json = None

    @property
    def reported(self) -> Json:
        """The failure that it reports, as an error or as the reason of its end; None for none."""
        return super().reported or failed_ending(self.done_reason)


class Line(NativeCounters):
    """A line of /api/chat or /api/generate, or the whole answer."""

    message: NativeAnswerMessage | str | None = None
    response: Json = None
    thinking: str | None = None
    tool_calls: tuple[NativeAnswerCall, ...] | None = None
    logprobs: tuple[AnswerToken, ...] | None = None

    @property
    def said(self) -> NativeAnswerMessage | None:
        """The message, which some engines send as its text alone."""
        if isinstance(self.message, str):
            return None if self.done is None else NativeAnswerMessage(content=self.message)
        return self.message


class Vectors(NativeCounters):
    """The answer of /api/embed, or of /api/embeddings."""

    embeddings: list[msgspec.Raw] | None = None
    embedding: msgspec.Raw = _NOTHING

    @property
    def told(self) -> list[msgspec.Raw] | None:
        """Each vector as it was written; None where there is none."""
        return self.embeddings or ([self.embedding] if self.embedding else self.embeddings)


LOADS = frozenset({"load", "unload"})
"""The reasons of answers in which nothing was to be said."""


class End(NativeCounters):
    """The end of any answer; vectors are only seen to be there."""

    embeddings: msgspec.Raw = _NOTHING
    embedding: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING

    @property
    def has_message(self) -> bool:
        """Whether there is something that may be said, be it empty, or nothing was to be said."""
        return len(self.message) + len(self.response) > 0 or self.done_reason in LOADS

    @property
    def has_vectors(self) -> bool:
        """Whether this is the answer of an embedding call."""
        return len(self.embeddings) + len(self.embedding) > 0


def finished(end: NativeCounters, *, called: bool, counted: int = 0) -> Finished:
    """How the answer ended; `called` when it holds tool calls, which Ollama ends with "stop".

    counted: tokens of the answer as seen from outside, for an end that does not tell them.
    """
    reason = _REASONS.get(end.done_reason or "stop", FinishReason.STOP)
    return Finished(
        reason=FinishReason.TOOL_CALLS if called and reason is FinishReason.STOP else reason,
        usage=Usage(token_count(end.prompt_eval_count), token_count(end.eval_count)).or_else(estimated(counted).usage),
        timings=Timings(
            total_s=seconds(end.total_duration, _S_PER_NS),
            load_s=seconds(end.load_duration, _S_PER_NS),
            prompt_s=seconds(end.prompt_eval_duration, _S_PER_NS),
            decode_s=seconds(end.eval_duration, _S_PER_NS),
        ),
    )


def estimated(tokens: int) -> Finished:
    """An end that told nothing: the tokens were counted from outside, if any were seen."""
    return Finished(usage=Usage(completion_tokens=tokens, estimated=True) if tokens > 0 else Usage())
