"""Writes answers for Ollama's clients, with the keys in Ollama's own order."""

from collections.abc import Callable, Iterable

import msgspec
from msgspec import UNSET, UnsetType

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, TokenLogprob, ToolCallDelta
from ollama_proxyd.core.requests import Json, Operation, Request
from ollama_proxyd.dialects.framing.gathering import ToolCalls, joined, says, was_cut, whole_calls
from ollama_proxyd.dialects.framing.jsonbody import energy_in, in_one_step, present


def write_logprob(token: TokenLogprob, *, with_top: bool = True) -> dict[str, Json]:
    """A token, how likely it was, and the likeliest others."""
    top = [write_logprob(other, with_top=False) for other in token.top] if with_top else None
    return present(token=token.token, logprob=token.logprob, bytes=token.bytes, top_logprobs=top or None)


_NS_PER_S = 1e9


def counters_of(finished: Finished, total_ns: int, first_ns: int | None) -> dict[str, Json]:
    """Every counter that is known; `first_ns` is when the first piece of the answer came.

    Where the backend timed nothing, what went by before the first piece counts as the prompt's and the rest as the
    answer's. Ollama's load_duration is what passes before the model works: waiting, choosing, loading. Where the
    backend did not tell it, it is what its own times leave of the total.
    """
    timings = finished.timings
    prompt_ns, decode_ns = _ns(timings.prompt_s), _ns(timings.decode_s)
    load_ns = _ns(timings.load_s)
    if load_ns is None and prompt_ns is not None and decode_ns is not None:
        load_ns = max(total_ns - prompt_ns - decode_ns, 0)
    if prompt_ns is None and decode_ns is None and first_ns is not None:
        prompt_ns, decode_ns = first_ns, total_ns - first_ns
    return present(
        total_duration=total_ns,
        load_duration=load_ns,
        prompt_eval_count=finished.usage.prompt_tokens,
        prompt_eval_duration=prompt_ns,
        eval_count=finished.usage.completion_tokens,
        eval_duration=decode_ns,
    )


def usage_in(request: Request, finished: Finished) -> dict[str, Json]:
    """What the answer cost, where the client asked for it; Ollama's own API has no such key."""
    return {"usage": energy_in(finished)} if request.hints.include_energy and finished.energy is not None else {}


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _NS_PER_S)


def write_calls(calls: Iterable[ToolCallDelta], *, is_cut: bool) -> list[dict[str, Json]]:
    """The whole tool calls of an answer; where the token limit cut it, those that it left unfinished are left out.

    ProxyError when the model named no tool, or wrote no object as arguments.
    """
    written: list[dict[str, Json]] = []
    for call, arguments in whole_calls(calls, is_cut=is_cut):
        function = {"index": len(written), "name": call.name, "arguments": msgspec.Raw(arguments)}
        written.append(present(id=call.id, function=function))
    return written


def encode_vectors(request: Request, events: Iterable[Event], finished: Finished, total_ns: int) -> bytes:
    """The vectors; a request without a text only loads the model and gets none."""
    vectors = tuple(vector for event in events if isinstance(event, Embedded) for vector in event.vectors)
    if not vectors and request.load_action is None:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent no vectors")
    if request.endpoint == "embeddings":
        return msgspec.json.encode({"embedding": vectors[0] if vectors else ()})
    counters = _vector_counters(request, finished, total_ns) if vectors else {}
    return msgspec.json.encode(
        {
            "model": request.model,
            "embeddings": [in_one_step(each) for each in vectors],
            **counters,
            **usage_in(request, finished),
        }
    )


def _vector_counters(request: Request, finished: Finished, total_ns: int) -> dict[str, Json]:
    """What Ollama tells of vectors; its provider for Vercel's ai refuses them without one of these.

    Where the engine is silent, the load is what passed before it was asked, and the tokens are our estimate.
    """
    timings, told_tokens = finished.timings, finished.usage.prompt_tokens
    load_ns, asked_ns = _ns(timings.load_s), _ns(timings.total_s)
    if load_ns is None and asked_ns is not None:
        load_ns = max(total_ns - asked_ns, 0)
    tokens = (request.prompt_tokens or None) if told_tokens is None else told_tokens
    return present(total_duration=total_ns, load_duration=load_ns, prompt_eval_count=tokens)


class _Said(msgspec.Struct, kw_only=True):
    role: str = "assistant"
    content: str
    thinking: str | UnsetType = UNSET


class _ChatLine(msgspec.Struct, kw_only=True):
    """A line of words alone, as nearly all are; written in a third of the time that a dictionary takes."""

    model: str
    created_at: str
    message: _Said
    done: bool = False


class _TextLine(msgspec.Struct, kw_only=True):
    """The same outside chats."""

    model: str
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    done: bool = False


_JSON = msgspec.json.Encoder()
_REASONS = {FinishReason.TOOL_CALLS: "stop"}
"""Ollama ends an answer that calls tools with "stop"; every other reason has the core's own word."""


class LineEncoder:
    """Encodes one answer; the model is named as the client asked for it.

    `created_at` gives the time now as RFC 3339 with nanoseconds and Z, `elapsed_ns` what went by since the request
    came.
    """

    def __init__(self, request: Request, created_at: Callable[[], str], elapsed_ns: Callable[[], int]) -> None:
        self._request = request
        self._is_chat = request.operation is Operation.CHAT
        self._created_at = created_at
        self._elapsed_ns = elapsed_ns
        self._calls = ToolCalls()
        self._first_ns: int | None = None

    def encode(self, event: Event) -> bytes:
        """The line that says this, or b"" where Ollama's clients are told nothing."""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, Finished):
            return self._line(Delta(tool_calls=self._calls.whole()), event) + b"\n"
        return b""

    def follow(self, block: bytes) -> None:
        """Nothing: no line depends on those before it."""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The one object that a client gets who did not ask for a stream."""
        gathered = list(events)
        finished = next((event for event in gathered if isinstance(event, Finished)), None)
        if finished is None:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer ended before it was complete")
        if self._request.operation is Operation.EMBEDDING:
            return encode_vectors(self._request, gathered, finished, self._elapsed_ns())
        return self._line(joined(gathered), finished)

    def _delta(self, delta: Delta) -> bytes:
        if self._first_ns is None:
            self._first_ns = self._elapsed_ns()
        if delta.tool_calls:
            self._calls.add(delta.tool_calls)
        if delta.logprobs:
            return self._line(delta, None) + b"\n"
        text, thinking = delta.text, delta.thinking or UNSET
        if not text and thinking is UNSET:
            return b""
        line: _ChatLine | _TextLine
        model, created_at = self._request.model, self._created_at()
        if self._is_chat:
            said = _Said(content=text, thinking=thinking)
            line = _ChatLine(model=model, created_at=created_at, message=said)
        else:
            line = _TextLine(model=model, created_at=created_at, response=text, thinking=thinking)
        return _JSON.encode(line) + b"\n"

    def _line(self, delta: Delta, finished: Finished | None) -> bytes:
        calls, reason = self._calls_and_reason(delta, finished) if finished else (None, None)
        line = self._object(delta, reason, calls)
        if finished is not None and finished.reason not in {FinishReason.LOAD, FinishReason.UNLOAD}:
            line |= counters_of(finished, self._elapsed_ns(), self._first_ns)
            line |= usage_in(self._request, finished)
        return _JSON.encode(line)

    def _calls_and_reason(self, delta: Delta, finished: Finished) -> tuple[list[dict[str, Json]] | None, str]:
        """The calls that are whole and why the answer ended; at the token limit some engines name another reason."""
        calls = write_calls(delta.tool_calls, is_cut=was_cut(finished, self._request))
        is_whole = len(calls) == sum(map(says, delta.tool_calls))
        reason = finished.reason if is_whole else FinishReason.LENGTH
        return calls or None, _REASONS.get(reason, reason.value)

    def _object(self, delta: Delta, reason: str | None, calls: list[dict[str, Json]] | None) -> dict[str, Json]:
        """A line without the counters of the last; the keys in Ollama's order."""
        head = {"model": self._request.model, "created_at": self._created_at()}
        thinking, done = delta.thinking or None, reason is not None
        logprobs = [write_logprob(token) for token in delta.logprobs] if delta.logprobs else None
        if self._is_chat:
            message = present(role="assistant", content=delta.text, thinking=thinking, tool_calls=calls)
            return present(**head, message=message, done=done, done_reason=reason, logprobs=logprobs)
        text = present(response=delta.text, thinking=thinking)
        return present(**head, **text, done=done, done_reason=reason, tool_calls=calls, logprobs=logprobs)
