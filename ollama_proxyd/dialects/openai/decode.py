"""Reads the answers of OpenAI-style engines: streams and whole answers."""

from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Timings, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Chat, Completion, Content
from ollama_proxyd.dialects.base import BlockDecoder, UnreadableError
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.alike import Alike
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.framing.parts import said_in, thought_in
from ollama_proxyd.dialects.framing.sse import AROUND, DONE, events, framed
from ollama_proxyd.dialects.openai.answer import (
    FRAME,
    AnswerMessage,
    Choice,
    Frame,
    logprobs_of,
    timings_of,
    usage_of,
    wrapped,
)
from ollama_proxyd.dialects.openai.calls import CallNumbers, whole_calls
from ollama_proxyd.dialects.openai.errors import error_in_answer, not_openai
from ollama_proxyd.dialects.openai.plain import plain_text, plainly_split


def top_logprobs_of(content: Content) -> int | None:
    """How many alternatives the client asked for: engines are asked for at least one."""
    return (content.top_logprobs or 0) if isinstance(content, Chat | Completion) else None


class ChunkDecoder(BlockDecoder):
    """Reads a streamed chat or completion; the end is told by `finish`, for usage comes after the finish reason."""

    def __init__(self, top_logprobs: int | None = None) -> None:
        super().__init__(events)
        self._top_logprobs = top_logprobs
        self._calls = CallNumbers()
        self._reason: FinishReason | None = None
        self._stop: str | None = None
        self._usage: Usage | None = None
        self._timings = Timings()
        self._counted = 0
        """Tokens of the answer so far."""
        self._held_back = 0
        """Pieces since the last words that said nothing: engines wait with parts of a letter."""
        self.number: int | None = None
        """Which of several answers is read: the first that comes, whatever the engine calls it."""

    @property
    def reason(self) -> FinishReason:
        """Why the answer ended; that it simply stopped where nothing was told."""
        return self._reason or FinishReason.STOP

    def told_end(self) -> Finished | None:
        """How the answer ended, None where it broke off."""
        if self._reason is None and not self.ended:
            return None
        usage = (self._usage or Usage()).or_else(Usage(completion_tokens=self._counted, estimated=True))
        return Finished(self.reason, usage, self._timings, stop_sequence=self._stop)

    def read(self, payload: bytes) -> Delta | None:
        """What one event says."""
        if payload == DONE:
            self.ended = True
            return None
        frame = _frame_in(payload)
        if frame is None:
            raise UnreadableError
        if (error := frame.reported) is not None:
            raise error_in_answer(error)
        self.has_read = self.has_read or bool(frame.choices)
        is_counted = frame.usage is not None or frame.timings is not None
        usage = usage_of(frame.usage, frame.timings) if is_counted else None
        self._usage = usage or self._usage
        if frame.timings is not None:
            self._timings = timings_of(frame.timings)
        return self.choose(frame, usage)

    def choose(self, frame: Frame, usage: Usage | None) -> Delta | None:
        """What a frame says in the first of its answers."""
        choices = frame.choices or ()
        if self.number is None and choices:
            self.number = min(choice.index or 0 for choice in choices)
        return next((self.hear(choice, usage) for choice in choices if (choice.index or 0) == self.number), None)

    def hear(self, choice: Choice, usage: Usage | None) -> Delta | None:
        """What a piece of the answer says."""
        if (ending := choice.ending) is not None:
            self._reason, self._stop = ending, choice.stop_sequence
        message = choice.said
        delta = _delta(choice, message, self._calls.pieces(message), self._top_logprobs)
        if delta is None:
            self._held_back += message.content == "" and message.role is None
            return None
        return self._counted_in(delta, usage)

    def _counted_in(self, delta: Delta, usage: Usage | None) -> Delta:
        """The piece with its number of tokens: what the engine has counted more, else one for each piece."""
        told = usage.completion_tokens if usage else None
        tokens = max(told - self._counted, 1) if told else 1 + self._held_back
        self._counted += tokens
        self._held_back = 0
        return delta if tokens == 1 else replace(delta, tokens=tokens)


class TextDecoder(ChunkDecoder):
    """The same for an answer that is told on, piece by piece."""

    def __init__(self, top_logprobs: int | None = None) -> None:
        super().__init__(top_logprobs)
        self._alike = Alike()

    def feed(self, block: bytes, most: int | None = None) -> list[Event]:
        """The events of a block; the commonest frames are read in one step each."""
        frames = plainly_split(block)
        if len(frames) == 1:
            return self._feed_one(block, most)
        found: list[Event] = []
        for frame in frames:
            left = None if most is None else most - len(found)
            if left is not None and left <= 0:
                break
            try:
                found += self._feed_one(frame, left)
            except ProxyError:
                if not found:
                    raise
                break
        return found

    def _feed_one(self, block: bytes, most: int | None) -> list[Event]:
        if words := self._alike.words(block):
            return [self._counted_in(Delta(words), None)]
        plain = None if self.ended or self._failure is not None else plain_text(block)
        if plain is None or self.number not in {None, plain[0]}:
            self._alike.forget()
            return super().feed(block, most)
        self._alike.learn(block, block)
        self.has_read, self.number = True, plain[0]
        return [self._counted_in(Delta(plain[1]), None)]


def decode_answer(body: bytes, top_logprobs: int | None = None) -> list[Event]:
    """The events of a whole chat or completion, or of a stream in its place; raises UPSTREAM_FAILED when it is none."""
    frame = _frame_in(body)
    if frame is None:
        return _streamed(body, top_logprobs)
    if (error := frame.reported) is not None:
        raise error_in_answer(error)
    choice = _first(frame) or next(iter(frame.choices or ()), None)
    if choice is None or not choice.has_message:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer holds no message")
    message = choice.said
    delta = _delta(choice, message, whole_calls(message), top_logprobs)
    usage = usage_of(frame.usage, frame.timings) or Usage()
    reason = choice.ending or FinishReason.STOP
    finished = Finished(reason, usage, timings_of(frame.timings), stop_sequence=choice.stop_sequence)
    return [finished] if delta is None else [delta, finished]


def _streamed(body: bytes, top_logprobs: int | None) -> list[Event]:
    """The events of a stream that came as one body: of events, or of objects; two whole answers are none."""
    decoder = ChunkDecoder(top_logprobs)
    if not body.lstrip(AROUND).startswith((b"{", b"[")):
        found = decoder.feed(body)
    else:
        first, *rest = [framed(each) for each in pieces_in(body).objects] or [b""]
        found = decoder.feed(first)
        if not rest or decoder.told_end() is not None:
            raise not_openai()
        found += decoder.feed(b"".join(rest))
    if not decoder.has_read:
        raise not_openai()
    return [*found, decoder.finish()]


def _frame_in(payload: bytes) -> Frame | None:
    """The frame that a text is, or that another object wraps; None where it is none."""
    frame = lenient.read(FRAME, payload)
    inner = wrapped(payload) if frame is not None and frame.choices is None else None
    return frame if inner is None else lenient.read(FRAME, inner)


def _first(frame: Frame) -> Choice | None:
    """The first of several answers: only clients of the same dialect can be given more."""
    return next((choice for choice in frame.choices or () if not choice.index), None)


def _thought(message: AnswerMessage) -> str:
    told = message.reasoning_content or message.reasoning or message.thinking or message.reasoning_details
    return told if isinstance(told, str) else thought_in(told)


def _delta(
    choice: Choice, message: AnswerMessage, calls: tuple[ToolCallDelta, ...], top_logprobs: int | None
) -> Delta | None:
    content = message.content
    text, thinking = (content, "") if isinstance(content, str) else said_in(content)
    delta = Delta(
        text=text
        or (choice.text if isinstance(choice.text, str) else said_in(choice.text).text)
        or message.refusal
        or "",
        thinking=thinking or _thought(message),
        tool_calls=calls,
        logprobs=logprobs_of(choice.logprobs, top_logprobs),
    )
    return delta if delta.text or delta.thinking or delta.tool_calls or delta.logprobs else None
