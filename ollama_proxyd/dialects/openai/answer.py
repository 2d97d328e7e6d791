"""What OpenAI-style engines send, in all their variants: typed, and lenient where they differ."""

import msgspec

from ollama_proxyd.core.events import FinishReason, Timings, TokenLogprob, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.lenient import fields_of
from ollama_proxyd.dialects.framing.logprobs import AnswerToken, read_logprobs
from ollama_proxyd.dialects.framing.numbers import seconds, token_count
from ollama_proxyd.dialects.framing.reported import Report, failed_ending, is_reported

_S_PER_MS = 1e-3
_UNTIMED = Timings()


class AnswerFunction(msgspec.Struct):
    """The function of a tool call, whole or in pieces; some engines send arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, Json] | None = None
    parameters: str | dict[str, Json] | None = None
    input: str | dict[str, Json] | None = None

    @property
    def told(self) -> str | dict[str, Json] | None:
        """The arguments, which some engines have under another name."""
        return next((each for each in (self.arguments, self.parameters, self.input) if each is not None), None)


class AnswerCall(msgspec.Struct):
    """A tool call or a piece of one; its index and id are read later, for engines write them in many ways."""

    index: Json = None
    id: Json = None
    function: AnswerFunction | None = None
    name: str | None = None
    arguments: str | dict[str, Json] | None = None

    @property
    def called(self) -> AnswerFunction:
        """What is called; some engines have it beside the id."""
        return self.function or AnswerFunction(self.name, self.arguments)


class AnswerMessage(msgspec.Struct):
    """A message or a delta; thinking goes by many names, and `function_call` is the older word for a single call."""

    content: Json = None
    role: Json = None
    reasoning_content: Json = None
    reasoning: Json = None
    reasoning_details: Json = None
    thinking: Json = None
    refusal: str | None = None
    """What a model says in place of what it was asked for."""
    tool_calls: list[AnswerCall] | None = None
    function_call: AnswerFunction | None = None


class AnswerLogprobs(msgspec.Struct):
    """Log probabilities: a list in chats, parallel lists in plain completions."""

    content: list[AnswerToken] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


_NOTHING = AnswerMessage()


class Choice(msgspec.Struct):
    """One answer or a piece of it, of a chat or a plain completion, streamed or whole."""

    index: int | None = 0
    delta: AnswerMessage | str | None = None
    message: AnswerMessage | str | None = None
    text: Json = None
    finish_reason: str | None = None
    logprobs: AnswerLogprobs | None = None
    stop_reason: Json = None
    """vLLM's: the sequence or the token at which it stopped."""
    matched_stop: Json = None
    """SGLang's word for the same."""
    error: Json = None

    @property
    def reported(self) -> Json:
        """The failure that ended it; None for none."""
        if self.error is not None and is_reported(self.error):
            return self.error
        return failed_ending(self.finish_reason)

    @property
    def ending(self) -> FinishReason | None:
        """The reason of its end, None where it goes on."""
        word = self.finish_reason
        return finish_reason(word) if word and is_reason(word) else None

    @property
    def stop_sequence(self) -> str | None:
        """The sequence at which it stopped, None where the engine does not tell."""
        told = (self.stop_reason, self.matched_stop)
        return next((each for each in told if isinstance(each, str)), None)

    @property
    def said(self) -> AnswerMessage:
        """The message or the delta, which some engines send as its text alone."""
        said = self.delta or self.message or _NOTHING
        return AnswerMessage(content=said) if isinstance(said, str) else said

    @property
    def has_message(self) -> bool:
        """Whether there is something that may be said, be it empty."""
        return self.message is not None or self.delta is not None or isinstance(self.text, str | list)


class WireUsage(msgspec.Struct):
    """Tokens as OpenAI counts them; no number is worth an answer, so any value is taken and read later."""

    prompt_tokens: Json = None
    completion_tokens: Json = None
    prompt_tokens_details: Json = None
    input_tokens: Json = None
    output_tokens: Json = None


class WireTimings(msgspec.Struct):
    """llama-server's own clock; any value is taken and read later."""

    cache_n: Json = None
    prompt_n: Json = None
    prompt_ms: Json = None
    predicted_n: Json = None
    predicted_ms: Json = None


class Frame(Report):
    """A streamed chunk or a whole answer; some engines answer an error's own object instead."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    timings: WireTimings | None = None

    @property
    def reported(self) -> Json:
        """The failure that it reports, for itself or in an answer; None for none."""
        if not self.choices:
            return super().reported
        if self.error is not None and is_reported(self.error):
            return self.error
        for choice in self.choices:
            if (told := choice.reported) is not None:
                return told
        return None


FRAME = msgspec.json.Decoder(Frame)


def wrapped(payload: bytes) -> bytes | None:
    """The only object with choices among the members of another one, as some gateways send frames."""
    inner = [each for each in (fields_of(payload) or {}).values() if _has_choices(each)]
    return bytes(inner[0]) if len(inner) == 1 else None


def _has_choices(member: Json) -> bool:
    return isinstance(member, msgspec.Raw) and b'"choices"' in bytes(member) and "choices" in (fields_of(member) or ())


FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
"""OpenAI's reasons."""

_OTHER_REASONS = {
    **FINISH_REASONS,
    **dict.fromkeys(("model_length", "max_tokens", "max_output_tokens", "limit"), FinishReason.LENGTH),
    **dict.fromkeys(("tool_call", "tool_use"), FinishReason.TOOL_CALLS),
    **dict.fromkeys(("safety", "refusal"), FinishReason.CONTENT_FILTER),
}
"""The words of Mistral, Gemini, Anthropic and their imitators too; any other means that the engine simply stopped."""


def is_reason(word: str) -> bool:
    """Whether a word tells of an end; SGLang once wrote Python's None for a piece that others follow."""
    return word in FINISH_REASONS or word.lower() not in {"", "none", "null"}


def finish_reason(word: str) -> FinishReason:
    """An engine's reason in the core's words."""
    return _OTHER_REASONS.get(word.lower(), FinishReason.STOP)


def usage_of(usage: WireUsage | None, timings: WireTimings | None) -> Usage | None:
    """What was counted, from the usage or else from llama-server's timings; None when neither says."""
    return (_told(usage) if usage else None) or (_counted(timings) if timings else None)


def _told(usage: WireUsage) -> Usage | None:
    prompt = _first_count(usage.prompt_tokens, usage.input_tokens)
    completion = _first_count(usage.completion_tokens, usage.output_tokens)
    if prompt is None and completion is None:
        return None
    details = usage.prompt_tokens_details
    return Usage(prompt, completion, token_count(details.get("cached_tokens")) if isinstance(details, dict) else None)


def _first_count(told: Json, newer: Json) -> int | None:
    """The count under its own name, or under that of OpenAI's newer API."""
    found = token_count(told)
    return token_count(newer) if found is None else found


def _counted(timings: WireTimings) -> Usage | None:
    completion = token_count(timings.predicted_n)
    if completion is None:
        return None
    prompt, cached = token_count(timings.prompt_n), token_count(timings.cache_n)
    return Usage(None if prompt is None else prompt + (cached or 0), completion, cached)


def timings_of(timings: WireTimings | None) -> Timings:
    """The engine's own clock in seconds."""
    if timings is None:
        return _UNTIMED
    return Timings(prompt_s=seconds(timings.prompt_ms, _S_PER_MS), decode_s=seconds(timings.predicted_ms, _S_PER_MS))


def logprobs_of(logprobs: AnswerLogprobs | None, top: int | None) -> tuple[TokenLogprob, ...] | None:
    """Log probabilities with at most `top` alternatives, all of them when None."""
    if logprobs is None:
        return None
    if logprobs.content is not None:
        return read_logprobs(logprobs.content, top)
    if logprobs.tokens is None:
        return None
    others = logprobs.top_logprobs or [None] * len(logprobs.tokens)
    return tuple(
        TokenLogprob(token, value, top=tuple(TokenLogprob(*pair) for pair in list((likely or {}).items())[:top]))
        for token, value, likely in zip(logprobs.tokens, logprobs.token_logprobs or (), others, strict=False)
        if value is not None
    )
