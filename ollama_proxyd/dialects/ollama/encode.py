"""Writes events as Ollama's clients read them: lines of a stream, or one object."""

from collections.abc import Callable, Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, TokenLogprob
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.dialects.ollama.counters import count
from ollama_proxyd.dialects.ollama.lines import ChatLine, GenerateLine, Message, ToolCall, with_counters, write_logprob
from ollama_proxyd.dialects.ollama.toolcalls import ToolCalls
from ollama_proxyd.dialects.ollama.vectors import encode_vectors

_JSON = msgspec.json.Encoder()
_REASONS = {FinishReason.TOOL_CALLS: "stop"}
"""Ollama ends an answer that calls tools with "stop"; every other reason has the core's own word."""


class Encoder:
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
            return self._line(Delta(), event) + b"\n"
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The one object that a client gets who did not ask for a stream."""
        gathered = list(events)
        deltas = [event for event in gathered if isinstance(event, Delta)]
        finished = next((event for event in gathered if isinstance(event, Finished)), None)
        if finished is None:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer ended before it was complete")
        if self._request.operation is Operation.EMBEDDING:
            return encode_vectors(self._request, gathered, finished, self._elapsed_ns())
        for delta in deltas:
            self._calls.add(delta.tool_calls)
        logprobs = [token for delta in deltas for token in delta.logprobs or ()]
        text = "".join(delta.text for delta in deltas)
        thinking = "".join(delta.thinking for delta in deltas)
        return self._line(Delta(text=text, thinking=thinking, logprobs=tuple(logprobs) or None), finished)

    def _delta(self, delta: Delta) -> bytes:
        if self._first_ns is None:
            self._first_ns = self._elapsed_ns()
        if delta.tool_calls:
            self._calls.add(delta.tool_calls)
        if not (delta.text or delta.thinking or delta.logprobs):
            return b""
        return self._line(delta, None) + b"\n"

    def _line(self, delta: Delta, finished: Finished | None) -> bytes:
        calls = self._calls.whole() if finished else None
        reason = _REASONS.get(finished.reason, finished.reason.value) if finished else None
        line = _JSON.encode(self._object(delta, reason, calls, _logprobs(delta.logprobs)))
        if finished is None or finished.reason in {FinishReason.LOAD, FinishReason.UNLOAD}:
            return line
        return with_counters(line, count(finished, self._elapsed_ns(), self._first_ns))

    def _object(
        self, delta: Delta, reason: str | None, calls: list[ToolCall] | None, logprobs: list[dict[str, object]] | None
    ) -> ChatLine | GenerateLine:
        if self._is_chat:
            return ChatLine(
                model=self._request.model,
                created_at=self._created_at(),
                message=Message(role="assistant", content=delta.text, thinking=delta.thinking, tool_calls=calls),
                done=reason is not None,
                done_reason=reason,
                logprobs=logprobs,
            )
        return GenerateLine(
            model=self._request.model,
            created_at=self._created_at(),
            response=delta.text,
            thinking=delta.thinking,
            done=reason is not None,
            done_reason=reason,
            tool_calls=calls,
            logprobs=logprobs,
        )


def _logprobs(tokens: tuple[TokenLogprob, ...] | None) -> list[dict[str, object]] | None:
    return [write_logprob(token) for token in tokens] if tokens else None
