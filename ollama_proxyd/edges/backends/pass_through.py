"""An engine's own frames for a client of the same dialect, from the first that means something to the answer's end."""

from collections import deque

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Finished
from ollama_proxyd.core.requests import Request
from ollama_proxyd.dialects.base import Dialect, incomplete, unreadable
from ollama_proxyd.dialects.framing.lenient import is_strict_object, objects_in
from ollama_proxyd.dialects.framing.sse import DONE

_ERROR_MARK = b"error"
MOST_HELD_BYTES = 64 * 1024
"""How much that means nothing is held back; the rest goes on."""


class PassThrough:
    """Whole frames as they come, under the client's name for the model if it is another.

    Frames that mean nothing yet, such as a role or a comment, wait for the first that does: until then another
    backend may answer. An error among the frames is raised once those before it are passed on.
    """

    __slots__ = (
        *("_begun", "_blocks", "_dialect", "_end_mark", "_failure", "_frames", "_has_read", "_held", "_is_closed"),
        *("_mark", "_name", "_request", "_who", "ended", "skipped_frames"),
    )

    def __init__(self, dialect: Dialect, request: Request, name: str | None, who: str) -> None:
        self._dialect = dialect
        self._request = request
        self._name = name
        self._who = who
        self._mark = dialect.frame_mark
        self._end_mark = dialect.end_mark
        self._blocks: deque[bytes] = deque(maxlen=dialect.tail_blocks)
        self._frames = 0
        self._held = b""
        self._has_read = False
        self._begun = False
        self._failure: ProxyError | None = None
        self._is_closed = False
        self.ended = False
        self.skipped_frames = 0

    def feed(self, block: bytes) -> tuple[Delta, ...]:
        """The block, untouched but for the model's name; a failure in it is raised by the next call."""
        if self._failure is not None:
            raise self._failure
        if self.ended or not block:
            return ()
        if self._end_mark in block or _ERROR_MARK in block or not self._dialect.is_plain(block):
            block = self._examined(block)
        if block and not self._begun:
            block = self._begin(block)
        if not block:
            return ()
        self._blocks.append(block)
        self._frames += block.count(self._mark)
        return (Delta(frame=block if self._name is None else self._dialect.rename(block, self._name)),)

    def _examined(self, block: bytes) -> bytes:
        """The block up to the answer's end or to an error, without what no client could read."""
        kept: list[bytes] = []
        for frame in (clean for each in self._dialect.frames(block) for clean in self._readable(each)):
            if self._dialect.end_of_answer(frame) is not None:
                kept.append(frame)
                self.ended = self._is_closed = True
                break
            failure = self._dialect.stream_ending(frame, 1).error
            if failure is not None:
                self._fail(failure, kept)
                break
            kept.append(frame)
        return b"".join(kept)

    def _fail(self, failure: ProxyError, kept: list[bytes]) -> None:
        """Note an error; one that comes after a complete answer is nobody's."""
        self.ended = self._dialect.stream_ending(b"".join((*self._blocks, *kept)), 1).complete
        if self.ended:
            return
        if not kept and not self._held:
            raise failure
        self._failure = failure

    def _readable(self, frame: bytes) -> list[bytes]:
        """A frame as it is where every client can read it, else what can be read of it."""
        payloads = tuple(self._dialect.payloads(frame))
        if not payloads:
            return [frame] if self._dialect.is_comment(frame) else []
        if all(payload == DONE or is_strict_object(payload) for payload in payloads):
            return [frame]
        objects = [each for payload in payloads for each in objects_in(payload)]
        self.skipped_frames += not objects
        return [self._dialect.framed(each) for each in objects]

    @property
    def closing(self) -> bytes:
        """What the engine left out at the end of its answer."""
        return b"" if self._is_closed else self._dialect.closing

    def _begin(self, block: bytes) -> bytes:
        """All that was held back, with the block, once that means something; without a block that cannot be read."""
        reader = self._dialect.decoder(self._request)
        means_something = bool(reader.feed(block))
        self._has_read |= reader.has_read
        if reader.skipped_frames and not reader.has_read:
            self.skipped_frames += reader.skipped_frames
            return b""
        self._held += block
        is_end = self._has_read and self._dialect.stream_ending(block, 1).complete
        if not (means_something or is_end) and len(self._held) < MOST_HELD_BYTES:
            return b""
        self._begun, block, self._held = True, self._held, b""
        return block

    def finish(self) -> Finished:
        """How the stream ended; raises when that was no proper end."""
        if self._failure is not None:
            raise self._failure
        if not self._begun and self.skipped_frames:
            raise unreadable(self._who, self.skipped_frames)
        ending = self._dialect.stream_ending(b"".join(self._blocks), self._frames)
        if ending.error is not None:
            raise ending.error
        if not ending.complete:
            raise incomplete(self._who)
        return ending.finished
