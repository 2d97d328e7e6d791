"""An engine's own frames for a client of the same dialect, from the first one that means something."""

from collections import deque

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Finished
from ollama_proxyd.core.requests import Request
from ollama_proxyd.dialects.base import Dialect, Ending
from ollama_proxyd.dialects.framing.jsonbody import object_in

_ERROR_MARK = b'"error"'
_DONE = b"[DONE]"
MOST_HELD_BYTES = 64 * 1024
"""How much that means nothing is held back; the rest goes on."""


class PassThrough:
    """Whole frames as they come, under the client's name for the model if it is another.

    Frames that mean nothing yet, such as a role or a comment, wait for the first that does: until then another
    backend may answer. An error among the frames is raised once those before it are passed on.
    """

    __slots__ = ("_begun", "_blocks", "_dialect", "_failure", "_frames", "_held", "_mark", "_name", "_request", "_who")

    def __init__(self, dialect: Dialect, request: Request, name: str | None, who: str) -> None:
        self._dialect = dialect
        self._request = request
        self._name = name
        self._who = who
        self._mark = dialect.frame_mark
        self._blocks: deque[bytes] = deque(maxlen=dialect.tail_blocks)
        self._frames = 0
        self._held = b""
        self._begun = False
        self._failure: ProxyError | None = None

    def feed(self, block: bytes) -> tuple[Delta, ...]:
        """The block, untouched but for the model's name; a failure in it is raised by the next call."""
        if self._failure is not None:
            raise self._failure
        if _ERROR_MARK in block:
            block = self._before_error(block)
        if block and not self._begun:
            block = self._begin(block)
        if not block:
            return ()
        self._blocks.append(block)
        self._frames += block.count(self._mark)
        return (Delta(frame=block if self._name is None else self._dialect.rename(block, self._name)),)

    def _before_error(self, block: bytes) -> bytes:
        """The frames before one that reports a failure; without such a frame, the block."""
        failure = self._dialect.stream_ending(block, 1).error
        if failure is None:
            return block
        at = block.find(_ERROR_MARK)
        starts = (block.rfind(end, 0, at) + len(end) for end in self._dialect.frame_ends if end in block[:at])
        before = block[: max(starts, default=0)]
        if not before and not self._held:
            raise failure
        self._failure = failure
        return before

    def _begin(self, block: bytes) -> bytes:
        """All that was held back, with the block, once that means something."""
        self._held += block
        if not self._means_something(block) and len(self._held) < MOST_HELD_BYTES:
            return b""
        self._begun, block, self._held = True, self._held, b""
        return block

    def _means_something(self, block: bytes) -> bool:
        """Whether a client learns something from the block; raises for what is no JSON object."""
        try:
            if self._dialect.decoder(self._request).feed(block):
                return True
        except ProxyError:
            payloads = tuple(self._dialect.payloads(block))
            if not all(text == _DONE or object_in(text) is not None for text in payloads):
                raise
            return True  # an object of another form than ours is for the client to read
        return self._dialect.stream_ending(block, 1).complete

    def finish(self) -> Finished:
        """How the stream ended; raises when that was no proper end."""
        if self._failure is not None:
            raise self._failure
        return proper_end(self._dialect.stream_ending(b"".join(self._blocks), self._frames), self._who)


def proper_end(ending: Ending, who: str) -> Finished:
    """How an answer ended; raises when it is not complete."""
    if ending.error is not None:
        raise ending.error
    if not ending.complete:
        message = f"{who} ended its answer before it was complete"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, code="incomplete_answer")
    return ending.finished
