"""An engine's own frames for a client of the same dialect, from the first that means something to the answer's end."""

import time
from collections.abc import Iterator, Mapping

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Finished
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.base import BlockDecoder, Dialect, incomplete, unreadable
from ollama_proxyd.dialects.framing.alike import Alike
from ollama_proxyd.dialects.framing.lenient import loosely, pieces_in
from ollama_proxyd.dialects.framing.sse import DONE

_NAMES = ("id", "object", "created", "created_at", "model")
MOST_HELD_BYTES = 64 * 1024
"""How much that means nothing is held back; the rest goes on."""


def names_of(request: Request) -> Mapping[str, Json]:
    """What stands in an answer whose engine leaves it out."""
    return {"model": request.model, "id": f"chatcmpl-{request.hints.request_id}", "created": int(time.time())}


class PassThrough:
    """Whole frames as they come, under the client's name for the model if it is another.

    Frames that mean nothing yet, such as a role or a comment, wait for the first that does: until then another
    backend may answer. An error among the frames is raised once those before it are passed on.
    """

    __slots__ = (
        *(
            "_alike",
            "_begun",
            "_blocks",
            "_calls",
            "_dialect",
            "_end_mark",
            "_failure",
            "_first",
            "_form",
            "_frames",
            "_has_read",
            "_held",
            "_most_blocks",
            "_reader",
        ),
        *("_is_closed", "_mark", "_name", "_repeats", "_request", "_who", "ended", "skipped_frames"),
    )

    def __init__(self, dialect: Dialect, request: Request, name: str | None, who: str) -> None:
        self._dialect = dialect
        self._request = request
        self._name = name
        self._who = who
        self._form = dialect.form(request)
        self._calls = dialect.passed_calls(request)
        self._mark = dialect.frame_mark
        self._end_mark = dialect.end_mark
        self._blocks: list[bytes] = []
        """The last ones; a deque takes 600 bytes for its first."""
        self._most_blocks = dialect.tail_blocks
        self._frames = 0
        self._alike = Alike()
        self._repeats = 0
        """How many frames like the last block came since; they say no more of the answer's end than it does."""
        self._held = self._first = b""
        self._reader: BlockDecoder | None = None
        self._has_read = False
        self._begun = False
        self._failure: ProxyError | None = None
        self._is_closed = False
        self.ended = False
        self.skipped_frames = 0

    def passed(self, block: bytes) -> bytes:
        """A block of plain frames under the model's name, once noted; empty where one of them is to be looked at."""
        if told := self._alike.passed(block):
            self._repeats += 1
            return told
        if not self._begun or self.ended or self._failure is not None:
            return b""
        if self._calls.concern(block) or block.find(self._end_mark) >= 0:
            return b""
        if not (frames := self._form.plain_frames(block)):
            return b""
        self._note(block, frames)
        told = self._named(block)
        if frames == 1:
            self._alike.learn(block, told)
        return told

    def _named(self, block: bytes) -> bytes:
        return block if self._name is None else self._dialect.rename(block, self._name)

    def _note(self, block: bytes, frames: int) -> None:
        self._note_repeats()
        self._blocks.append(block)
        if len(self._blocks) > self._most_blocks:
            del self._blocks[0]
        self._frames += frames

    def _note_repeats(self) -> None:
        """Have the last block stand for those that were like it, and push out as many; the next one is like none."""
        self._alike.forget()
        if self._repeats:
            *before, last = self._blocks
            before += [b""] * min(self._repeats, self._most_blocks)
            self._blocks = [*before, last][-self._most_blocks :]
            self._frames += self._repeats
            self._repeats = 0

    def feed(self, block: bytes) -> tuple[Delta, ...]:
        """The block, untouched but for the model's name; a failure in it is raised by the next call."""
        self._note_repeats()
        if self._failure is not None:
            raise self._failure
        if self.ended or not block:
            return ()
        is_looked_at = self._calls.concern(block) or block.find(self._end_mark) >= 0
        if not (frames := 0 if is_looked_at else self._form.plain_frames(block)):
            block = self._examined(block)
        if block and not self._begun:
            block, frames = self._begin(block), 0
        if not block:
            return ()
        self._note(block, frames or block.count(self._mark))
        return (Delta(frame=self._named(block)),)

    def _examined(self, block: bytes) -> bytes:
        """The block up to the answer's end or to an error, without what no client could read."""
        kept: list[bytes] = []
        try:
            for frame in self._readable(block):
                kept.append(frame)
                if self._end_mark in frame and self._dialect.end_of_answer(frame) is not None:
                    self.ended = self._is_closed = True
                    break
        except ProxyError as failure:
            self._fail(failure, kept)
        return b"".join(kept)

    def _fail(self, failure: ProxyError, kept: list[bytes]) -> None:
        """Note an error; one that comes after a complete answer is nobody's."""
        self.ended = self._dialect.stream_ending(b"".join((*self._blocks, *kept)), 1).complete
        if self.ended:
            return
        if not kept and not self._held:
            raise failure
        self._failure = failure

    def _readable(self, block: bytes) -> Iterator[bytes]:
        """The frames of a block as every client can read them; raises ProxyError for an error."""
        is_of_calls = self._calls.concern(block)
        for frame in self._dialect.frames(block):
            if not is_of_calls and self._form.plain_frames(frame):
                yield frame
            else:
                yield from self._as_clients_read(frame)

    def _as_clients_read(self, frame: bytes) -> Iterator[bytes]:
        """What clients can read of a frame."""
        payloads = tuple(self._dialect.payloads(frame))
        if not payloads and self._dialect.is_comment(frame):
            yield frame
        for payload in payloads:
            is_alone = len(payloads) == 1 and self._dialect.is_regular(frame)
            if payload == DONE:
                if DONE in self._dialect.closing:  # in other APIs it says nothing
                    yield frame if is_alone else self._dialect.framed(payload)
            elif is_alone and self._is_aside(frame, payload):
                yield frame
            elif is_alone and self._form.is_strict(payload):
                told = self._calls.mended(payload)
                yield frame if told is payload else self._dialect.framed(told)
            else:
                yield from self._mended(payload)

    def _is_aside(self, frame: bytes, payload: bytes) -> bool:
        """Whether a frame is an object beside the answer; clients of events tell it by its name."""
        return self._dialect.is_aside(frame) and pieces_in(payload).objects == [payload]

    def _mended(self, payload: bytes) -> Iterator[bytes]:
        """The frames in an odd payload."""
        pieces = pieces_in(payload)
        found = 0
        for each in pieces.objects:
            frame = self._dialect.framed(each)
            failure = self._dialect.stream_ending(frame, 1).error
            if failure is not None:
                raise failure
            mended = each if self._form.is_strict(each) else self._form.mended(each, self._known())
            if mended is not None:
                found += 1
                yield self._dialect.framed(self._calls.mended(mended))
        self.skipped_frames += not (found and pieces.is_all)

    def _known(self) -> Mapping[str, Json]:
        """The names that stand in every frame, as the first one has them."""
        first = next(iter(self._dialect.payloads(self._first)), b"")
        told = loosely(first) or {}
        return {**names_of(self._request), **{name: told[name] for name in _NAMES if name in told}}

    @property
    def closing(self) -> bytes:
        """What the engine left out at the end of its answer."""
        return b"" if self._is_closed else self._dialect.closing

    def _begin(self, block: bytes) -> bytes:
        """All that was held back, with the block, once that means something."""
        # one for all blocks, since it knows by the first frame which of several answers it reads
        reader = self._reader = self._reader or self._dialect.decoder(self._request)
        means_something = bool(reader.feed(block, most=1))
        self._has_read |= reader.has_read
        if reader.has_read and not self._first:
            self._first = block
        self._held += block
        if not means_something and len(self._held) < MOST_HELD_BYTES and not self._is_end(block):
            return b""
        self._begun, block, self._held, self._reader = True, self._held, b"", None
        return block

    def _is_end(self, block: bytes) -> bool:
        return self._has_read and self._dialect.stream_ending(block, 1).complete

    def finish(self) -> Finished:
        """How the stream ended; raises when that was no proper end."""
        if self._failure is not None:
            raise self._failure
        self._note_repeats()
        if not self._begun and self.skipped_frames:
            raise unreadable(self._who, self.skipped_frames)
        head = self._first if self._dialect.counts_at_first else b""
        ending = self._dialect.stream_ending(b"".join((head, *self._blocks)), self._frames)
        if ending.error is not None:
            raise ending.error
        if not ending.complete or not (self._begun or self._has_read):
            raise incomplete(self._who)
        return ending.finished
