"""Writes answers for OpenAI clients."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, TokenLogprob, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Embedding, Json, Request
from ollama_proxyd.core.values import replace
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.framing.jsonbody import energy_in, in_one_step, object_in, present
from ollama_proxyd.dialects.openai.vectors import asked_in, pack

FINGERPRINT = "fp_ollama_proxyd"
DONE = b"data: [DONE]\n\n"

REASONS = {
    **{reason: reason.value for reason in FinishReason},
    FinishReason.LOAD: "stop",
    FinishReason.UNLOAD: "stop",
}
"""Why an answer ended, in OpenAI's words; it has none for loading."""


class TextEncoder(ABC):
    """Writes one answer."""

    def __init__(self, request: Request, created: int, answer_id: str, kinds: tuple[str, str]) -> None:
        streamed, self._whole_kind = kinds
        self._includes_energy = request.hints.include_energy
        self._wants_usage = request.wants_usage or self._includes_energy
        self._head: dict[str, Json] = {
            "id": answer_id,
            "object": streamed,
            "created": created,
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
        }
        self._start = self._chunk_start()

    def _chunk_start(self) -> bytes:
        return b"data: " + msgspec.json.encode(self._head)[:-1] + b',"choices":['

    def follow(self, block: bytes) -> None:
        """Go on with a stream that began with this block of an engine's own frames, under its id and time."""
        first = next(filter(None, map(object_in, sse.events(block))), {})
        self._head = {name: first[name] for name in self._head if name in first}
        self._start = self._chunk_start()

    def encode(self, event: Event) -> bytes:
        """What a streaming client is sent for an event, b"" for nothing."""
        if isinstance(event, Delta):
            return b"".join(self._chunk(choice) for choice in self._pieces(event))
        if isinstance(event, Finished):
            return self._ending(event)
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""
        gathered = list(events)
        finished = next((event for event in gathered if isinstance(event, Finished)), Finished())
        choice = self._answer(joined(gathered), finished)
        answer = {**self._head, "object": self._whole_kind, "choices": [choice], "usage": self._usage(finished)}
        return msgspec.json.encode(answer)

    def _ending(self, finished: Finished) -> bytes:
        chunks = [self._chunk(choice) for choice in self._last_pieces(finished)]
        if self._wants_usage:
            usage = msgspec.json.encode(self._usage(finished))
            chunks.append(self._start + b'],"usage":' + usage + b"}\n\n")
        return b"".join(chunks) + DONE

    def _usage(self, finished: Finished) -> dict[str, Json] | None:
        usage = usage_object(finished.usage)
        return {**(usage or {}), **energy_in(finished)} if self._includes_energy else usage

    def _chunk(self, choice: Json) -> bytes:
        return self._start + msgspec.json.encode(choice) + b"]}\n\n"

    @abstractmethod
    def _pieces(self, delta: Delta) -> list[Json]:
        """The choice of each chunk that a delta makes."""

    @abstractmethod
    def _last_pieces(self, finished: Finished) -> list[Json]:
        """The choice of each chunk before usage and [DONE]."""

    @abstractmethod
    def _answer(self, delta: Delta, finished: Finished) -> Json:
        """The choice of a whole answer."""


def usage_object(usage: Usage) -> dict[str, Json] | None:
    """Usage in OpenAI's form, None when nothing is known; an engine that leaves one number out means 0."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    tokens: dict[str, Json] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if usage.cached_tokens is not None:
        tokens["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return tokens


class ChatEncoder(TextEncoder):
    """Writes one chat answer: the role comes with the first delta alone."""

    def __init__(self, request: Request, created: int, answer_id: str) -> None:
        kinds = ("chat.completion.chunk", "chat.completion")
        super().__init__(request, created, f"chatcmpl-{answer_id}", kinds)
        self._call_prefix = f"call_{answer_id}"
        self._begun = False
        self._calls: set[int] = set()

    def follow(self, block: bytes) -> None:
        """Go on with a stream whose role is told."""
        super().follow(block)
        self._begun = True

    def _pieces(self, delta: Delta) -> list[Json]:
        message: dict[str, Json] = {} if self._begun else {"role": "assistant"}
        if delta.text or delta.thinking or not self._begun:
            message["content"] = delta.text
        _add_thinking(message, delta.thinking)
        if delta.tool_calls:
            message["tool_calls"] = [self._call_piece(call) for call in delta.tool_calls]
        self._begun = True
        return [{"index": 0, "delta": message, "finish_reason": None, **_chat_logprobs(delta)}]

    def _call_piece(self, call: ToolCallDelta) -> Json:
        if call.index in self._calls:
            return {"index": call.index, "function": present(name=call.name, arguments=call.arguments)}
        self._calls.add(call.index)
        return {"index": call.index, **self._call(call)}

    def _call(self, call: ToolCallDelta) -> dict[str, Json]:
        function = {"name": call.name or "", "arguments": call.arguments}
        return {"id": call.id or f"{self._call_prefix}_{call.index}", "type": "function", "function": function}

    def _last_pieces(self, finished: Finished) -> list[Json]:
        first = [] if self._begun else self._pieces(Delta())
        return [*first, {"index": 0, "delta": {}, "finish_reason": _reason(finished, bool(self._calls))}]

    def _answer(self, delta: Delta, finished: Finished) -> Json:
        calls = [self._call(_whole(call)) for call in sorted(delta.tool_calls, key=lambda call: call.index)]
        content = None if calls and not delta.text else delta.text
        message: dict[str, Json] = {"role": "assistant", "content": content}
        _add_thinking(message, delta.thinking)
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": _reason(finished, bool(calls))}
        return choice | _chat_logprobs(delta)


def _whole(call: ToolCallDelta) -> ToolCallDelta:
    """A call with the text of an object as its arguments, unless the answer was cut in them."""
    arguments = object_of(call.arguments)
    return call if arguments is None else replace(call, arguments=arguments.decode())


def _chat_logprobs(delta: Delta) -> dict[str, Json]:
    if delta.logprobs is None:
        return {}
    return {"logprobs": {"content": [logprob_object(token) for token in delta.logprobs]}}


def _add_thinking(message: dict[str, Json], thinking: str) -> None:
    if thinking:
        message["reasoning_content"] = message["reasoning"] = thinking


def _reason(finished: Finished, called: bool) -> str:
    """The finish reason; engines of other dialects say `stop` after calling tools."""
    return REASONS[FinishReason.TOOL_CALLS if called and finished.reason is FinishReason.STOP else finished.reason]


def logprob_object(token: TokenLogprob) -> dict[str, Json]:
    """A token's log probability in the form of chats."""
    return {**_logprob(token), "top_logprobs": [_logprob(other) for other in token.top]}


def _logprob(token: TokenLogprob) -> dict[str, Json]:
    return {"token": token.token, "logprob": token.logprob, "bytes": None if token.bytes is None else list(token.bytes)}


class CompletionEncoder(TextEncoder):
    """Writes one completion."""

    def __init__(self, request: Request, created: int, answer_id: str) -> None:
        super().__init__(request, created, f"cmpl-{answer_id}", ("text_completion", "text_completion"))
        self._written = 0

    def _pieces(self, delta: Delta) -> list[Json]:
        if not delta.text and not delta.logprobs:
            return []
        return [self._choice(delta.text, delta.logprobs, None)]

    def _last_pieces(self, finished: Finished) -> list[Json]:
        return [self._choice("", None, REASONS[finished.reason])]

    def _answer(self, delta: Delta, finished: Finished) -> Json:
        return self._choice(delta.text, delta.logprobs, REASONS[finished.reason])

    def _choice(self, text: str, tokens: tuple[TokenLogprob, ...] | None, reason: str | None) -> Json:
        logprobs = None if tokens is None else self._logprobs(tokens)
        self._written += len(text)
        return {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}

    def _logprobs(self, tokens: tuple[TokenLogprob, ...]) -> dict[str, Json]:
        """Parallel lists, with where in the whole text each token begins."""
        offsets, offset = [], self._written
        for token in tokens:
            offsets.append(offset)
            offset += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{other.token: other.logprob for other in token.top} for token in tokens],
            "text_offset": offsets,
        }


class EmbeddingEncoder:
    """Writes one answer; embeddings are never streamed."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def encode(self, event: Event) -> bytes:  # noqa: ARG002 - see Encoder
        """Nothing: vectors come only whole."""
        return b""

    def follow(self, block: bytes) -> None:
        """Nothing: vectors come only whole."""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object; tokens that the engine does not tell are estimated, as for other clients."""
        vectors: tuple[tuple[float, ...], ...] = ()
        finished = Finished()
        for event in events:
            if isinstance(event, Embedded):
                vectors = event.vectors
            elif isinstance(event, Finished):
                finished = event
        return msgspec.json.encode(self._answer(vectors, finished))

    def _answer(self, vectors: tuple[tuple[float, ...], ...], finished: Finished) -> dict[str, Json]:
        asked = asked_in(self._request)
        packed = isinstance(asked, Embedding) and asked.base64
        told_tokens = finished.usage.prompt_tokens
        tokens = self._request.prompt_tokens if told_tokens is None else told_tokens
        energy = energy_in(finished) if self._request.hints.include_energy else {}
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": pack(vector) if packed else in_one_step(vector), "index": index}
                for index, vector in enumerate(vectors)
            ],
            "model": self._request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, **energy},
        }
