"""An answer that breaks in the middle: what its client has, and whether another backend can go on from there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple
from zlib import DEFLATED, compressobj, decompressobj

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, Read, Timings, Usage
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.requests import Chat, Completion, Content, Request, ToolMode
from ollama_proxyd.core.spoken import Resume, Spoken


class Failover(Enum):
    """Which backends may go on with an answer that broke in the middle."""

    NEVER = "never"
    SAME_MODEL = "same-model"
    ANY_CANDIDATE = "any-candidate"


class Obstacle(Enum):
    """Why an answer cannot go on exactly from where it broke."""

    SWITCHED_OFF = "switched_off"
    """routing.failover is never."""
    LOGPROBS = "logprobs"
    FORMAT = "format"
    """A grammar forces the form of the answer, and its state is the engine's own."""
    SEVERAL = "several_answers"
    TOOL_CALL = "tool_call"
    """The client has a part of one."""
    FIELDS = "fields"
    """The request says something that has no place beside a begun answer."""
    UNREADABLE = "unreadable"
    """It is not known exactly what the client has."""
    NO_BACKEND = "no_backend"
    """No other backend that could go on can serve now."""


MOST_PLAIN_BYTES = 2 * 1024
"""So many frames are kept as they came, some 10 tokens; more are packed, to a twentieth: they repeat themselves."""
_SAMPLE_BYTES = 512
"""Two or three frames, by which all later ones are packed: what they say beside them is a few words."""
_LEVEL, _WINDOW, _MEMORY = 1, -12, 5
"""zlib's own 256 KiB take longer to clear than a few KiB to pack; 4 KiB of window are enough for them."""
MOST_PACKED_BYTES = 128 * 1024
"""Of so many the reading is put off, some 650 tokens: few answers break, and reading costs as much as passing on."""
MOST_CHARACTERS = 4 * 1024 * 1024
"""An answer beyond that is not kept, and does not go on elsewhere."""


class Transcript:
    """The words of one answer that its client has; passed-on frames are read on demand, the first of many before."""

    __slots__ = (
        *("_characters", "_frames", "_has_calls", "_is_lost", "_is_thinking", "_packed_bytes", "_packs", "_passed"),
        *("_plain_bytes", "_read", "_read_bytes", "_sample", "_text", "_thinking", "_tokens"),
    )

    def __init__(self) -> None:
        self._read: Read | None = None
        self._frames: list[bytes] = []
        self._plain_bytes = 0
        self._sample = b""
        self._packs: list[bytes] = []
        """Frames before those, packed."""
        self._packed_bytes = self._read_bytes = 0
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._characters = 0
        self._tokens = 0
        self._is_thinking = False
        self._has_calls = False
        self._passed = False
        self._is_lost = False

    def read_by(self, read: Read | None) -> None:
        """The frames that follow are to be read so."""
        if self._passed:
            self._catch_up()
        self._read = read

    def add(self, event: Event) -> None:
        """An event goes to the client."""
        if not isinstance(event, Delta):
            return
        if event.frame is None:
            self._note(event)
        else:
            self.add_frame(event.frame)

    def add_frame(self, frame: bytes) -> None:
        """A frame of an engine's own goes to the client."""
        self._passed = True
        self._frames.append(frame)
        self._plain_bytes += len(frame)
        if self._plain_bytes > MOST_PLAIN_BYTES:
            self._pack()

    def spoken(self) -> Spoken | None:
        """What the client has; None where that is not known exactly."""
        self._catch_up()
        if self._is_lost:
            return None
        return Spoken("".join(self._text), "".join(self._thinking), self._tokens, self._has_calls, self._passed)

    def tokens(self) -> int:
        """How many tokens the client has, as far as its frames can be read; of many, as the first ones show."""
        if not self._packs:
            self._catch_up()
        elif not self._read_bytes:
            self._read_pack()
        unread = (self._packed_bytes + self._plain_bytes) / self._read_bytes if self._read_bytes else 0.0
        return round(self._tokens * (1 + unread))

    def _taken(self) -> bytes:
        """The frames that came last, which are kept no more."""
        frames, self._frames, self._plain_bytes = b"".join(self._frames), [], 0
        return frames

    def _pack(self) -> None:
        frames = self._taken()
        if not self._packs:
            self._sample = frames[:_SAMPLE_BYTES]
        packer = compressobj(_LEVEL, DEFLATED, _WINDOW, _MEMORY, zdict=self._sample)
        self._packs.append(packer.compress(frames) + packer.flush())
        self._packed_bytes += len(frames)
        while self._packed_bytes > MOST_PACKED_BYTES or (self._packs and self._is_lost):
            self._read_pack()

    def _read_pack(self) -> None:
        frames = decompressobj(_WINDOW, self._sample).decompress(self._packs.pop(0))
        self._packed_bytes -= len(frames)
        if not self._is_lost:
            self._read_block(frames)

    def _catch_up(self) -> None:
        while self._packs:
            self._read_pack()
        if (frames := self._taken()) and not self._is_lost:
            self._read_block(frames)

    def _read_block(self, frames: bytes) -> None:
        self._read_bytes += len(frames)
        read = len(self._text)
        try:
            for event in () if self._read is None else self._read(frames):
                if isinstance(event, Delta):
                    self._note(event)
        except ProxyError:
            self._is_lost = True
        self._is_lost = self._is_lost or self._read is None
        for pieces in (self._text, self._thinking):
            pieces[read:] = ["".join(pieces[read:])]  # a piece by itself takes several times its characters

    def _note(self, delta: Delta) -> None:
        self._characters += len(delta.text) + len(delta.thinking)
        self._is_lost = self._is_lost or self._characters > MOST_CHARACTERS
        if self._is_lost:
            self._text, self._thinking = [], []
            return
        self._text.append(delta.text)
        self._thinking.append(delta.thinking)
        self._tokens += delta.tokens + self._mark(delta)
        self._has_calls = self._has_calls or bool(delta.tool_calls)

    def _mark(self, delta: Delta) -> int:
        """How many tokens end the thoughts, which no engine sends: one, unless the words that follow count it."""
        is_end = self._is_thinking and bool(delta.text or delta.tool_calls)
        self._is_thinking = bool(delta.thinking) or (self._is_thinking and not is_end)
        return 1 if is_end and delta.tokens == 1 else 0


_CHAT: Sequence[tuple[Obstacle, Callable[[Chat], object]]] = (
    (Obstacle.LOGPROBS, lambda chat: chat.logprobs),
    (Obstacle.FORMAT, lambda chat: chat.format or (chat.tool_choice and chat.tool_choice.mode is ToolMode.REQUIRED)),
    (Obstacle.FIELDS, lambda chat: not chat.messages or chat.messages[-1].role == "assistant"),
)
_COMPLETION: Sequence[tuple[Obstacle, Callable[[Completion], object]]] = (
    (Obstacle.LOGPROBS, lambda completion: completion.logprobs),
    (Obstacle.FORMAT, lambda completion: completion.format),
    (Obstacle.FIELDS, lambda completion: completion.suffix or completion.template or completion.context),
    (Obstacle.FIELDS, lambda completion: completion.options.known.get("echo")),
)
_SEVERAL = ("n", "best_of")


def obstacle(request: Request, spoken: Spoken | None, failover: Failover) -> Obstacle | None:
    """Why an answer cannot go on from what its client has; None where it can."""
    if failover is Failover.NEVER:
        return Obstacle.SWITCHED_OFF
    if spoken is None:
        return Obstacle.UNREADABLE
    if spoken.has_calls and (spoken.passed or not request.calls_come_whole):
        return Obstacle.TOOL_CALL
    resume = request.resume
    if resume is None or (resume.only_own and not spoken.passed):
        return Obstacle.FIELDS
    return _in_content(request, resume)


def _in_content(request: Request, resume: Resume) -> Obstacle | None:
    try:
        content: Content = resume.content(request)
    except ProxyError:
        return Obstacle.FIELDS  # one that only engines of its own dialect know, such as a grammar
    known = content.options.known
    if any(isinstance(known.get(name), int) and known[name] > 1 for name in _SEVERAL):
        return Obstacle.SEVERAL
    if isinstance(content, Chat):
        return next((what for what, holds in _CHAT if holds(content)), None)
    if isinstance(content, Completion):
        return next((what for what, holds in _COMPLETION if holds(content)), None)
    return Obstacle.FIELDS


def resumed(request: Request, spoken: Spoken) -> Request:
    """The request that asks another backend to go on."""
    if request.resume is None:
        raise ValueError("its API cannot go on from a begun answer")
    limit = request.max_tokens
    rest: Request = request.resume.request(request, spoken)
    return replace(
        rest,
        prompt_tokens=request.prompt_tokens + spoken.tokens,
        max_tokens=None if limit is None else max(limit - spoken.tokens, 0),
    )


def rest_of(request: Request, spoken: Spoken | None, failover: Failover) -> Request | Obstacle:
    """The request for the rest of an answer, or why it cannot go on exactly; as costly as reading the request."""
    if (why_not := obstacle(request, spoken, failover)) or spoken is None:
        return why_not or Obstacle.UNREADABLE
    return resumed(request, spoken)


class Held(NamedTuple):
    """A model as one backend holds it."""

    view: BackendView
    model: Model


def are_same_weights(one: Held, other: Held) -> bool:
    """Whether two backends hold the same model under its name, as far as they tell.

    Sizes are compared only where both are told by the same engine, since each counts in its own way.
    """
    ours, theirs = one.model, other.model
    pairs: list[tuple[object, object]] = [
        (ours.digest, theirs.digest),
        (_folded(ours.quantization), _folded(theirs.quantization)),
    ]
    if (one.view.spec.api, one.view.spec.flavor) == (other.view.spec.api, other.view.spec.flavor):
        pairs += [(ours.parameter_size, theirs.parameter_size), (ours.size_bytes, theirs.size_bytes)]
    return all(mine == its for mine, its in pairs if mine and its)


def _folded(word: str | None) -> str | None:
    return None if word is None else word.casefold()


def with_former(finished: Finished, spoken: Spoken, former: Timings) -> Finished:
    """The end of an answer that went on elsewhere, as the end of all of it.

    What was spoken before was counted from its pieces, and was a part of the last backend's prompt.
    """
    told, timings = finished.usage, finished.timings
    prompt_tokens = None if told.prompt_tokens is None else max(told.prompt_tokens - spoken.tokens, 0)
    usage = Usage(prompt_tokens, (told.completion_tokens or 0) + spoken.tokens, estimated=True)
    decode_s = _sum(former.decode_s, timings.decode_s)
    return Finished(finished.reason, usage, Timings(former.total_s, former.load_s, former.prompt_s, decode_s))


def _sum(one_s: float | None, other_s: float | None) -> float | None:
    return other_s if one_s is None else one_s + (other_s or 0.0)
