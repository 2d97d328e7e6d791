"""A dialect: one API's wire format, as its clients and its engines use it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.framing.jsonbody import renamed
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.framing.passing import WHOLE_CALLS, Form, PassedCalls
from ollama_proxyd.dialects.framing.placing import NOWHERE, Places
from ollama_proxyd.dialects.framing.splitter import FrameSplitter


@value
class Rendered:
    """A request for an engine, and the client's fields that the engine's API cannot express.

    joiner: joins a stream that is asked for in place of a whole answer, under the client's name of the model. added: a
    field that the client did not send.
    """

    path: str
    body: bytes
    ignored_fields: tuple[str, ...] = ()
    joiner: "Callable[[str | None], StreamReader] | None" = None
    added: str | None = None


@value
class Ending:
    """How a passed-on answer ended: `complete` at its proper end, `error` when the engine reported a failure."""

    finished: Finished
    complete: bool
    error: ProxyError | None = None


Parse = Callable[[bytes, Hints], Request]
"""Reads a client's body as far as routing needs it; raises ProxyError."""


class Stamps(NamedTuple):
    """Where the ids and times in an answer come from."""

    new_id: Callable[[], str]
    unix_s: Callable[[], int]
    rfc3339: Callable[[], str]
    monotonic_ns: Callable[[], int]


class Encoder(Protocol):
    """Writes the events of one answer for a client."""

    def encode(self, event: Event) -> bytes:
        """One event of a stream, empty where the dialect has nothing to say about it."""

    def whole(self, events: Iterable[Event]) -> bytes:
        """All events as one answer."""

    def follow(self, block: bytes) -> None:
        """Go on with a stream that began with this block of an engine's own frames."""


class StreamReader(Protocol):
    """Turns whole frames into events."""

    ended: bool
    """Whether its last frame has come; what follows does not belong to the answer."""
    skipped_frames: int
    """How many frames could not be read."""

    @property
    def closing(self) -> bytes:
        """What the engine left out at the end of its answer."""

    def passed(self, block: bytes) -> bytes:
        """What the client gets of a block that passes on, as most do; empty where it is to be fed."""

    def feed(self, block: bytes) -> Sequence[Event]:
        """The events of a block of frames."""

    def finish(self) -> Finished:
        """How the stream ended; raises ProxyError when it broke off."""


class UnreadableError(Exception):
    """A frame says nothing that can be read."""


INCOMPLETE = "incomplete_answer"
"""The code of an answer that ended, or was cut off, before its own end."""


def incomplete(who: str) -> ProxyError:
    """The failure of an answer that has no proper end."""
    message = f"{who} ended its answer before it was complete"
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message, code=INCOMPLETE)


def unreadable(who: str, frames: int) -> ProxyError:
    """The failure of a stream of which nothing could be read; its words may be the conversation's."""
    message = f"{who} sent an answer of which no frame can be read (of {frames})"
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message)


class BlockDecoder(ABC):
    """Reads the payloads of whole frames one by one; what cannot be read of them is skipped and counted."""

    def __init__(self, split: Callable[[bytes], Iterable[bytes]]) -> None:
        self._split = split
        self._failure: ProxyError | None = None
        self.has_read = False
        """Whether a piece of an answer was read, be it empty."""
        self.ended = False
        self.skipped_frames = 0

    @property
    def closing(self) -> bytes:
        """Nothing: what is decoded is written anew."""
        return b""

    def passed(self, block: bytes) -> bytes:  # noqa: ARG002 - see StreamReader
        """Nothing."""
        return b""

    def feed(self, block: bytes, most: int | None = None) -> list[Event]:
        """The events of a block; a failure among them is raised once what came before it was returned.

        What follows the first `most` events is not read.
        """
        self._raise_failure()
        found: list[Event] = []
        for payload in self._split(block):
            if self.ended or (most is not None and len(found) >= most):
                break
            try:
                self._read_into(found, payload)
            except ProxyError as failure:
                if self.told_end() is None:
                    self._failure = failure
                self.ended = True
        if not found:
            self._raise_failure()
        return found

    def finish(self) -> Finished:
        """How the answer ended; raises UPSTREAM_FAILED when the stream failed, broke off or was none."""
        self._raise_failure()
        if not self.has_read and self.skipped_frames:
            raise unreadable("the backend", self.skipped_frames)
        finished = self.told_end() if self.has_read else None
        if finished is None:
            raise incomplete("the backend")
        return finished

    def _read_into(self, found: list[Event], payload: bytes) -> None:
        """Add what a payload says; what cannot be read may be several frames in one."""
        try:
            delta = self.read(payload)
        except UnreadableError:
            pieces = pieces_in(payload)
            objects = [each for each in pieces.objects if each != payload]
            self.skipped_frames += not (objects and pieces.is_all)
            for each in objects:
                if not self.ended:
                    self._read_into(found, each)
        else:
            if delta is not None:
                found.append(delta)

    @abstractmethod
    def read(self, payload: bytes) -> Delta | None:
        """What one payload says; sets `has_read`, and `ended` after the last. Raises UnreadableError."""

    @abstractmethod
    def told_end(self) -> Finished | None:
        """How the answer ended, None where it broke off."""

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class ClientDialect(ABC):
    """One API's wire format, as its clients use it.

    api: its name. whole_type, stream_type: the content types of its answers. prefix: where its paths begin.
    render_error: the status and the body of an error before the answer's first byte. stream_error: the last frame of
    a stream that broke off.
    option_places: where its requests have the canonical options, and the model.
    landmark: occurs in frames without which an encoder cannot go on from others; empty where the first one suffices.
    """

    api: ClassVar[Api]
    whole_type: ClassVar[str]
    stream_type: ClassVar[str]
    prefix: ClassVar[str]
    render_error: Callable[[ProxyError], tuple[int, bytes]]
    stream_error: Callable[[ProxyError], bytes]
    landmark: ClassVar[bytes] = b""
    option_places: Places = NOWHERE

    def ended_with(self, block: bytes) -> None:  # noqa: B027 - for dialects that keep what was said
        """Take note of the last bytes of an answer that an engine's own ones were for the client."""

    @abstractmethod
    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:
        """An encoder for the answer to a client's request that came at `begun_ns`."""

    def reworded(self, error: ProxyError, request: Request) -> ProxyError:  # noqa: ARG002 - for dialects that do
        """The error in the words that the API has for it, where it has its own."""
        return error


class Dialect(ClientDialect):
    """One API's wire format, as clients and engines use it.

    base: where an engine's API begins. calls: the paths that are routed to engines. frame_mark: occurs once in each
    frame. frame_ends: how a frame can end. payloads: the JSON texts in a block of whole frames. frames: a block's
    frames with their ends. framed: a JSON text as a frame. is_comment: whether a frame without a payload is for
    clients. is_aside: whether one with a payload is no part of the answer. is_regular: whether every client finds a
    frame's payload. closing: what some engines leave out at the end. end_mark: occurs in a block that holds the end of
    its answer. end_of_answer: how much of a block belongs to its answer, None where the answer goes on. tail_blocks:
    how many last blocks of a stream tell how it ended. stream_ending: how a stream of so many frames ended, from these
    blocks. answer_ending: how a whole answer ended, complete where it can be passed on; both never raise.
    answers_loads: whether a request can ask only to load or unload a model. counts_at_first: whether the first frame
    counts the prompt's tokens. named_in: the member of frames in which the model's name stands, empty for themselves.
    """

    calls: ClassVar[Mapping[str, Parse]]
    frame_mark: ClassVar[bytes]
    frame_ends: ClassVar[tuple[bytes, ...]]
    payloads: Callable[[bytes], Iterable[bytes]]
    frames: Callable[[bytes], Iterable[bytes]]
    framed: Callable[[bytes], bytes]
    is_comment: Callable[[bytes], bool]
    is_aside: Callable[[bytes], bool]
    is_regular: Callable[[bytes], bool]
    closing: ClassVar[bytes]
    end_mark: ClassVar[bytes]
    end_of_answer: Callable[[bytes], int | None]
    tail_blocks: ClassVar[int]
    stream_ending: Callable[[bytes, int], Ending]
    answer_ending: Callable[[bytes], Ending]
    answers_loads: ClassVar[bool]
    counts_at_first: ClassVar[bool] = False
    named_in: ClassVar[str] = ""
    base: str = ""

    @abstractmethod
    def render(self, request: Request, model: str) -> Rendered:
        """The request under the engine's own model name."""

    def takes(self, request: Request) -> bool:  # noqa: ARG002 - for engines that speak a dialect in part
        """Whether an engine with this dialect answers the request as well as in its first one."""
        return True

    @abstractmethod
    def echoes(self, asked: str, model: str) -> bool:
        """Whether answers to a request rendered for `model` carry the client's name for it."""

    @abstractmethod
    def is_stream(self, request: Request, content_type: str, start: bytes) -> bool:
        """Whether an answer that starts so comes in frames."""

    def splitter(self) -> FrameSplitter:
        """A splitter for one stream."""
        return FrameSplitter(self.frame_ends)

    @abstractmethod
    def form(self, request: Request) -> Form:
        """What clients read of the answer to a request, a stream or in one piece as the request asks."""

    def passed_calls(self, request: Request) -> PassedCalls:  # noqa: ARG002 - for dialects that tell calls in pieces
        """What looks after the tool calls in a stream that passes on."""
        return WHOLE_CALLS

    @abstractmethod
    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """A line of a block: what precedes its payload, the payload, and the rest."""

    @abstractmethod
    def decoder(self, request: Request) -> BlockDecoder:
        """A decoder for the stream that answers a request."""

    @abstractmethod
    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of a whole answer."""

    def rename(self, block: bytes, name: str) -> bytes:
        """The frames, or a whole answer, under another model name."""
        if self.named_in and block.find(f'"{self.named_in}"'.encode()) < 0:
            return block
        parts = ((*self.split_line(line), line) for line in block.splitlines(keepends=True))
        lines = (start + renamed(told, name, self.named_in) + end if told else line for start, told, end, line in parts)
        return b"".join(lines)
