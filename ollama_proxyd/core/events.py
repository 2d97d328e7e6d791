"""What a backend says while it answers, in words that no dialect owns."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from enum import Enum
from typing import TypeAlias

from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.values import value


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    LOAD = "load"
    UNLOAD = "unload"


@value
class Usage:
    """Tokens, None where the backend did not say; `estimated` when we counted frames instead."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False

    def or_else(self, estimate: "Usage") -> "Usage":
        """The same, with the estimate's tokens of the answer where they were left out."""
        if self.completion_tokens is not None or estimate.completion_tokens is None:
            return self
        return Usage(self.prompt_tokens, estimate.completion_tokens, self.cached_tokens, estimate.estimated)


@value
class Timings:
    """The backend's own clock, in seconds, None where it did not say."""

    total_s: float | None = None
    """Of vectors that no engine timed, by our clock from the moment at which it was asked."""
    load_s: float | None = None
    prompt_s: float | None = None
    decode_s: float | None = None


@value
class ToolCallDelta:
    """A piece of a tool call; `name` and `arguments`, a JSON text, may be fragments, joined by `index`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@value
class TokenLogprob:
    """The log probability of one token, and of the likeliest others."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()


@value
class Accepted:
    """The backend has begun to answer.

    `ignored_fields` are the client's fields that the backend's API cannot express and that do not change the answer.
    `read` says what passed-on frames mean, block after block; None where none are passed on. `asked_s` is how long it
    was asked to keep the model where the client did not say; None where it was not asked.
    """

    ignored_fields: tuple[str, ...] = ()
    read: "Read | None" = field(default=None, compare=False, repr=False)
    rest_s: float | None = None
    """For how long the backend is to be left alone, since a limit of its rate is used up."""
    asked_s: float | None = field(default=None, compare=False)
    content_type: str | None = None
    """The backend's own, of an answer that is passed on whatever it is."""


@value
class Delta:
    """A piece of the answer.

    Where client and backend speak one dialect, only `frame` is set: one or more whole upstream frames, untouched,
    to be forwarded as they are. Otherwise the other fields hold the meaning and `frame` is None.
    """

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    frame: bytes | None = None
    tokens: int = field(default=1, compare=False, repr=False)
    """How many tokens it stands for, as far as the engine told or its empty pieces show."""


@value
class Embedded:
    """The vectors of an embedding request, in the order of its inputs."""

    vectors: tuple[tuple[float, ...], ...]


@value
class Finished:
    """The answer is complete. Always the last event; a stream without it broke off.

    Where `Delta.frame` carried the upstream's frames, the final frame was among them, and `reason` is the
    upstream's own where it was read.
    """

    reason: FinishReason = FinishReason.STOP
    usage: Usage = Usage()
    timings: Timings = Timings()
    skipped_frames: int = 0
    """How many of the upstream's frames could not be read, and so were left out."""
    energy: Energy | None = field(default=None, compare=False)
    """What the answer cost over all attempts, as far as is known at its end; None before it is told the client."""
    stop_sequence: str | None = None
    """The client's sequence at which it stopped, where the engine tells."""


@value
class Resumed:
    """The answer goes on from another backend, in words; nothing that the client has is said again."""


class Flow:
    """An offer among the events: what follows can be told at once, instead of being asked for one by one.

    A consumer that does not pour it gets the same events from the generator, which also raises what breaks the answer.
    """

    __slots__ = ("_failure", "_pour", "_taps", "_was_poured")

    def __init__(self, pour: "Callable[[Tell], Awaitable[None]]") -> None:
        self._pour = pour
        self._taps: tuple[Callable[[Tell], Tell], ...] = ()
        self._failure: ProxyError | None = None
        self._was_poured = False

    def through(self, tap: "Callable[[Tell], Tell]") -> "Flow":
        """The same, of which all goes through what `tap` makes of its consumer, until it is offered again."""
        self._taps += (tap,)
        return self

    async def pour(self, tell: "Tell") -> None:
        """Have each event told as it comes, until the last, or until `tell` says that it takes no more for now."""
        self._was_poured = True
        for tap in reversed(self._taps):
            tell = tap(tell)
        try:
            await self._pour(tell)
        except ProxyError as error:
            self._failure = error

    def was_poured(self) -> bool:
        """Whether it was since the last question; raises what broke the answer meanwhile."""
        was_poured, self._was_poured, self._taps = self._was_poured, False, ()
        if self._failure is not None:
            raise self._failure
        return was_poured


Event: TypeAlias = Accepted | Delta | Embedded | Finished | Flow | Resumed
Read: TypeAlias = Callable[[bytes], Sequence[Event]]
Tell: TypeAlias = Callable[[Event | bytes], bool]
"""Takes an event, or the bytes of a delta that is a frame alone; says whether it takes another one at once."""
