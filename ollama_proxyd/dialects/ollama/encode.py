"""Writes answers for Ollama's clients, with the keys in Ollama's own order."""

from collections.abc import Callable, Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, TokenLogprob, ToolCallDelta
from ollama_proxyd.core.requests import Json, Operation, Request
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.framing.limits import MOST_ARGUMENTS_CHARACTERS


class LineFunction(msgspec.Struct):
    """What a tool call calls."""

    index: int
    name: str
    arguments: msgspec.Raw


class LineCall(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One whole tool call."""

    id: str | None = None
    function: LineFunction


class LineMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What the model said in a chat."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list[LineCall] | None = None


class LineCounters(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Tokens and durations of the last object; what is unknown is left out."""

    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class ChatLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A line of /api/chat, but for the counters of the last."""

    model: str
    created_at: str
    message: LineMessage
    done: bool
    done_reason: str | None = None
    logprobs: list[dict[str, Json]] | None = None


class GenerateLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A line of /api/generate, but for the counters of the last."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str | None = None
    tool_calls: list[LineCall] | None = None
    logprobs: list[dict[str, Json]] | None = None


def with_counters(line: bytes, counters: LineCounters) -> bytes:
    """An encoded object with the counters as its last keys."""
    more = msgspec.json.encode(counters)
    return line if more == b"{}" else line[:-1] + b"," + more[1:]


def write_logprob(token: TokenLogprob, *, with_top: bool = True) -> dict[str, Json]:
    """A token, how likely it was, and the likeliest others."""
    written: dict[str, Json] = {"token": token.token, "logprob": token.logprob}
    if token.bytes is not None:
        written["bytes"] = token.bytes
    if with_top and token.top:
        written["top_logprobs"] = [write_logprob(other, with_top=False) for other in token.top]
    return written


_NS_PER_S = 1e9


def counters_of(finished: Finished, total_ns: int, first_ns: int | None) -> LineCounters:
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
    return LineCounters(
        total_duration=total_ns,
        load_duration=load_ns,
        prompt_eval_count=finished.usage.prompt_tokens,
        prompt_eval_duration=prompt_ns,
        eval_count=finished.usage.completion_tokens,
        eval_duration=decode_ns,
    )


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _NS_PER_S)


_OBJECT = msgspec.json.Decoder(dict[str, Json])


class ToolCalls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: dict[int, _Gathered] = {}
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, pieces: Iterable[ToolCallDelta]) -> None:
        """Take in fragments; those of one index belong together."""
        for piece in pieces:
            self._characters += len(piece.arguments)
            if self._characters > MOST_ARGUMENTS_CHARACTERS:
                message = f"the model called tools with more than {MOST_ARGUMENTS_CHARACTERS} characters of arguments"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            self._calls.setdefault(piece.index, _Gathered()).add(piece)

    def whole(self) -> list[LineCall] | None:
        """The calls, None when there are none; ProxyError when the model did not write an object as arguments."""
        return [call.whole(index) for index, call in enumerate(self._calls.values())] or None


class _Gathered:
    def __init__(self) -> None:
        self._id: str | None = None
        self._name: str = ""
        self._arguments: list[str] = []

    def add(self, piece: ToolCallDelta) -> None:
        self._id = piece.id or self._id
        self._name = piece.name or self._name
        self._arguments.append(piece.arguments)

    def whole(self, index: int) -> LineCall:
        arguments = "".join(self._arguments).strip().encode() or b"{}"
        try:
            _OBJECT.decode(arguments)
        except (msgspec.DecodeError, RecursionError) as error:
            message = f"the model called '{sanitize_line(self._name)}' with arguments that are not a JSON object"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message) from error
        return LineCall(id=self._id, function=LineFunction(index, self._name, msgspec.Raw(arguments)))


def encode_vectors(request: Request, events: Iterable[Event], finished: Finished, total_ns: int) -> bytes:
    """The vectors; a request without a text only loads the model and gets none."""
    vectors = tuple(vector for event in events if isinstance(event, Embedded) for vector in event.vectors)
    if not vectors and request.load_action is None:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent no vectors")
    if request.endpoint == "embeddings":
        return msgspec.json.encode({"embedding": vectors[0] if vectors else ()})
    body = msgspec.json.encode({"model": request.model, "embeddings": vectors})
    if not vectors:
        return body
    known = counters_of(finished, total_ns, first_ns=None)
    return with_counters(
        body,
        LineCounters(
            total_duration=known.total_duration,
            load_duration=known.load_duration,
            prompt_eval_count=known.prompt_eval_count,
        ),
    )


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
        return with_counters(line, counters_of(finished, self._elapsed_ns(), self._first_ns))

    def _object(
        self, delta: Delta, reason: str | None, calls: list[LineCall] | None, logprobs: list[dict[str, object]] | None
    ) -> ChatLine | GenerateLine:
        if self._is_chat:
            return ChatLine(
                model=self._request.model,
                created_at=self._created_at(),
                message=LineMessage(role="assistant", content=delta.text, thinking=delta.thinking, tool_calls=calls),
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
