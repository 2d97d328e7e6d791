"""Reads the answers of engines that speak the Responses API: streams, whole answers, and how they ended."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.base import BlockDecoder, Ending, UnreadableError
from ollama_proxyd.dialects.framing import lenient, sse
from ollama_proxyd.dialects.framing.jsonbody import object_in, readable
from ollama_proxyd.dialects.framing.numbers import count, token_count
from ollama_proxyd.dialects.framing.reported import is_reported
from ollama_proxyd.dialects.openai.errors import error_in_answer, not_openai

_NAME = re.compile(rb"^event:[^\r\n]*(?:\r\n|\r|\n)", re.MULTILINE)
_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILURES = frozenset({"response.failed", "error"})
_TEXTS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})
_ARGUMENTS = "response.function_call_arguments.delta"
_REASONS = {"max_output_tokens": FinishReason.LENGTH, "content_filter": FinishReason.CONTENT_FILTER}
_FRAMES_WITHOUT_TEXT = 8
"""The beginning and the end of the response, its item and its part."""


class Part(msgspec.Struct):
    """A piece of an item's content."""

    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct):
    """An item of the output; of another kind than these it says nothing here."""

    type: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None


class Details(msgspec.Struct):
    """What is told beside the tokens, or why an answer is incomplete."""

    cached_tokens: Json = None
    reason: str | None = None


class WireUsage(msgspec.Struct):
    """Tokens; any value is taken and read later."""

    input_tokens: Json = None
    output_tokens: Json = None
    input_tokens_details: Details | None = None


class Whole(msgspec.Struct):
    """A response."""

    status: str | None = None
    output: list[Item] | None = None
    usage: WireUsage | None = None
    incomplete_details: Details | None = None
    error: Json = None


class Frame(msgspec.Struct):
    """An event's data."""

    type: str | None = None
    delta: str | None = None
    output_index: Json = None
    item: Item | None = None
    response: Whole | None = None
    error: Json = None
    message: Json = None


FRAME, WHOLE = msgspec.json.Decoder(Frame), msgspec.json.Decoder(Whole)


def payloads(block: bytes) -> list[bytes]:
    """The data of each event; its type says what it is, so that a tool that failed is no failed answer."""
    return sse.events(_NAME.sub(b"", block))


class EventDecoder(BlockDecoder):
    """Reads a streamed answer."""

    def __init__(self) -> None:
        super().__init__(payloads)
        self._finished: Finished | None = None
        self._pieces = 0
        self._calls: set[int] = set()
        """The places of calls of which arguments have come."""

    def told_end(self) -> Finished | None:
        """How the answer ended, None where it broke off."""
        return self._finished

    def read(self, payload: bytes) -> Delta | None:
        """What one event says."""
        if payload == sse.DONE:
            self.ended = True
            return None
        frame = lenient.read(FRAME, payload)
        if frame is None or frame.type is None:
            raise UnreadableError
        failure = _failure(frame)
        if failure is not None:
            raise failure
        self.has_read = True
        if frame.type in _ENDS:
            self.ended = True
            self._finished = _finished(frame.response or Whole(), self._pieces)
            return None
        delta = self._delta(frame, count(frame.output_index) or 0)
        self._pieces += delta is not None
        return delta

    def _delta(self, frame: Frame, at: int) -> Delta | None:
        said = frame.delta or ""
        if said and frame.type in _TEXTS:
            return Delta(text=said)
        if said and frame.type in _THOUGHTS:
            return Delta(thinking=said)
        if said and frame.type == _ARGUMENTS:
            self._calls.add(at)
            return Delta(tool_calls=(ToolCallDelta(at, arguments=said),))
        if frame.item is None or frame.item.type != "function_call":
            return None
        if frame.type == "response.output_item.added":
            return Delta(tool_calls=(ToolCallDelta(at, frame.item.call_id, frame.item.name),))
        if frame.type == "response.output_item.done" and at not in self._calls and frame.item.arguments:
            return Delta(tool_calls=(ToolCallDelta(at, arguments=frame.item.arguments),))
        return None


def decode_answer(body: bytes) -> list[Event]:
    """The events of a whole answer, or of a stream in its place; raises UPSTREAM_FAILED when it is none."""
    whole = lenient.read(WHOLE, body)
    if whole is None:
        decoder = EventDecoder()
        found: Sequence[Event] = decoder.feed(body)
        return [*found, decoder.finish()]
    failure = _failure(Frame(response=whole, error=whole.error))
    if failure is not None:
        raise failure
    if whole.output is None:
        raise not_openai()
    return [*(delta for at, item in enumerate(whole.output) for delta in _deltas(item, at)), _finished(whole, 0)]


def _deltas(item: Item, at: int) -> Iterable[Delta]:
    if item.type == "function_call":
        yield Delta(tool_calls=(ToolCallDelta(at, item.call_id, item.name, item.arguments or ""),))
    said = "".join(part.text or part.refusal or "" for part in item.content or item.summary or ())
    if said:
        yield Delta(thinking=said) if item.type == "reasoning" else Delta(text=said)


def response_in(block: bytes) -> dict[str, Json] | None:
    """The response that a stream's last event holds, or that a whole answer is."""
    whole = object_in(block)
    if whole is not None:
        return whole
    told = (object_in(payload) or {} for payload in reversed(payloads(block)))
    found = next((each.get("response") for each in told if each.get("type") in _ENDS), None)
    return found if isinstance(found, dict) else None


def peek_stream(blocks: bytes, frames_seen: int) -> Ending:
    """What the last events of a stream say; odd data says nothing, and never raises."""
    for payload in reversed(payloads(blocks)):
        frame = lenient.read(FRAME, payload)
        if frame is None:
            continue
        failure = _failure(frame)
        if failure is not None:
            return Ending(Finished(), complete=False, error=failure)
        if frame.type in _ENDS:
            pieces = max(0, frames_seen - _FRAMES_WITHOUT_TEXT)
            return Ending(_finished(frame.response or Whole(), pieces), complete=True)
    return Ending(Finished(), complete=False)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end; one that every reader takes is complete. Never raises."""
    whole = readable(WHOLE, body)
    if whole is None:
        return Ending(Finished(), complete=False)
    failure = _failure(Frame(response=whole, error=whole.error))
    return Ending(_finished(whole, 0), failure is None and whole.output is not None, failure)


def _failure(frame: Frame) -> ProxyError | None:
    """The failure that an event or a response tells."""
    whole = frame.response
    told = next(filter(is_reported, (frame.error, whole.error if whole else None)), None)
    if told is not None:
        return error_in_answer(told)
    has_failed = frame.type in _FAILURES or (whole is not None and whole.status == "failed")
    return error_in_answer(frame.message) if has_failed else None


def _finished(whole: Whole, pieces: int) -> Finished:
    why = whole.incomplete_details.reason if whole.incomplete_details else None
    is_cut = whole.status == "incomplete"
    calls = any(item.type == "function_call" for item in whole.output or ())
    reason = _REASONS.get(why or "", FinishReason.LENGTH) if is_cut else FinishReason.STOP
    return Finished(FinishReason.TOOL_CALLS if calls and not is_cut else reason, _usage(whole.usage, pieces))


def _usage(told: WireUsage | None, pieces: int) -> Usage:
    prompt = token_count(told.input_tokens) if told else None
    written = token_count(told.output_tokens) if told else None
    cached = token_count(told.input_tokens_details.cached_tokens) if told and told.input_tokens_details else None
    if written is None and pieces:
        return Usage(prompt, pieces, cached, estimated=True)
    return Usage(prompt, written, cached)
