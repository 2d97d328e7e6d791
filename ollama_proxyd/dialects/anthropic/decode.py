"""Reads the answers of engines that speak Anthropic's API: streams and whole answers."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.answer import FRAME, KINDS, Frame, Said, finish_reason, merged
from ollama_proxyd.dialects.anthropic.errors import error_in_answer
from ollama_proxyd.dialects.base import BlockDecoder, UnreadableError
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.framing.reported import Report
from ollama_proxyd.dialects.framing.sse import DONE, events


class EventDecoder(BlockDecoder):
    """Reads a streamed answer; message_stop is its end."""

    def __init__(self) -> None:
        super().__init__(events)
        self._reason: FinishReason | None = None
        self._stop: str | None = None
        self._usage = Usage()
        self._pieces = 0

    def told_end(self) -> Finished | None:
        """How the answer ended, None where it broke off."""
        if self._reason is None and not self.ended:
            return None
        usage = self._usage
        if not usage.completion_tokens:
            usage = Usage(usage.prompt_tokens, self._pieces, usage.cached_tokens, estimated=True)
        return Finished(self._reason or FinishReason.STOP, usage, stop_sequence=self._stop)

    def read(self, payload: bytes) -> Delta | None:
        """What one event says."""
        if payload == DONE:
            self.ended = True
            return None
        frame = lenient.read(FRAME, payload)
        if frame is None:
            raise UnreadableError
        if frame.reported is not None:
            raise error_in_answer(frame.reported)
        if frame.type not in KINDS:
            if (told := _reported(payload)) is not None:
                raise error_in_answer(told)
            raise UnreadableError
        if frame.type == "message_stop":
            self.ended = True
        self.has_read = self.has_read or frame.type != "ping"
        if frame.message is not None:
            self._usage = merged(self._usage, frame.message.usage)
        self._usage = merged(self._usage, frame.usage)
        self._read_reason(frame)
        said = frame.content_block or frame.delta
        delta = None if said is None else _delta(said, count(frame.index) or 0)
        self._pieces += delta is not None
        return delta

    def _read_reason(self, frame: Frame) -> None:
        told = frame.delta
        if told is not None and told.stop_reason:
            self._reason, self._stop = finish_reason(told.stop_reason), told.stop_sequence


def decode_answer(body: bytes) -> list[Event]:
    """The events of a whole answer, or of a stream in its place; raises UPSTREAM_FAILED when it is none."""
    frame = lenient.read(FRAME, body)
    if frame is None:
        decoder = EventDecoder()
        found = decoder.feed(body)
        return [*found, decoder.finish()]
    if frame.reported is not None:
        raise error_in_answer(frame.reported)
    if frame.content is None:
        if (told := _reported(body)) is not None:
            raise error_in_answer(told)
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer holds no message")
    content = [Said(text=frame.content)] if isinstance(frame.content, str) else frame.content
    deltas = [_delta(each, index) for index, each in enumerate(content)]
    reason = finish_reason(frame.stop_reason or "end_turn")
    finished = Finished(reason, merged(Usage(), frame.usage), stop_sequence=frame.stop_sequence)
    return [*filter(None, deltas), finished]


_REPORT = msgspec.json.Decoder(Report)


def _reported(payload: bytes) -> Json:
    """The failure that an object of no kind of Anthropic's reports; None for none."""
    report = lenient.read(_REPORT, payload)
    return None if report is None else report.reported


def _delta(said: Said, index: int) -> Delta | None:
    """What a block, or a piece of one, says; pieces of a call are joined by the block's place."""
    arguments = said.partial_json or (msgspec.json.encode(said.input).decode() if said.input else "")
    if said.name or (arguments and not said.text):
        return Delta(tool_calls=(ToolCallDelta(index, said.id, said.name, arguments),))
    delta = Delta(text=said.text or "", thinking=said.thinking or "")
    return delta if delta.text or delta.thinking else None
