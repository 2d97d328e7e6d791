"""An answer of a backend as it comes in, within its deadlines and limits."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.call import Answer, BrokenOffError, Take
from ollama_proxyd.edges.plumbing.watch import Watch

_DRAIN_S = 0.2
_PROGRESS_BYTES = 256
"""So much more of an answer in one piece brings it further: fewer than the tokens of the longest pause have."""


@value
class Limits:
    """How much of a backend's words is held in memory: of a whole answer, and of an error."""

    body_bytes: int = 64 * 1024 * 1024
    error_bytes: int = 64 * 1024


class Reply:
    """A backend's answer whose head has come; `read` gives the body as it comes.

    What counts is progress, not bytes: comments, blanks or single bytes could come for ever.
    """

    __slots__ = (
        *("_answer", "_asked_s", "_has_read", "_idle_s", "_is_waiting", "_left_s", "_limits", "_noted_bytes"),
        *("_time", "_watch", "broken", "content_type", "status", "who"),
    )

    def __init__(self, answer: Answer, who: str, times_s: tuple[float, float], limits: Limits, watch: Watch) -> None:
        due_s, idle_s = times_s
        self._answer = answer
        self._watch = watch
        self._time = watch.loop.time
        self._idle_s = idle_s
        self._asked_s = self._time()
        """Since when is waited for what comes next."""
        self._left_s = due_s - self._asked_s
        """How long may still be waited before the answer makes progress."""
        self._has_read = False
        self._is_waiting = False
        self._noted_bytes = 0
        self._limits = limits
        self.broken: ProxyError | None = None
        watch.enter(self, min(due_s, self._asked_s + idle_s))
        self.who = who
        self.status = answer.status
        self.content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of its head, until it is poured."""
        return self._answer.headers

    @property
    def is_over(self) -> bool:
        """Whether all of its body has come and was read."""
        return self._answer.is_over

    async def read(self) -> bytes:
        """What has come since, as soon as something has; empty at the end, and where it broke off `broken` says why."""
        self._wait()
        try:
            piece = await self._answer.read()
        except (TimeoutError, BrokenOffError, ProxyError) as error:
            self._break(error)
            return b""
        finally:
            self._is_waiting = False
        self.note_piece()
        if not self._has_read:
            self._has_read = True
            self._left_s = max(self._left_s, self._idle_s)  # from now on pauses count
        return piece

    async def pour(self, take: Take) -> bool:
        """Have each piece taken when it comes, as long as it is; whether the end has come, as with `read`.

        Follows the first `read`. Of each piece `take` tells `note_progress`, or `note_piece`.
        """
        self._wait()
        try:
            return await self._answer.pour(take)
        except (TimeoutError, BrokenOffError, ProxyError) as error:
            self._break(error)
            return True
        finally:
            self._is_waiting = False

    def _wait(self) -> None:
        """From now on the next piece is waited for."""
        self._is_waiting, self._asked_s = True, self._time()

    def note_progress(self) -> None:
        """A part of the answer has come, and the next may take as long again."""
        self._left_s, self._asked_s = self._idle_s, self._time()

    def note_piece(self) -> None:
        """A piece has come that may be no progress."""
        now_s = self._time()
        self._left_s -= now_s - self._asked_s
        self._asked_s = now_s

    def note_size(self, size_bytes: int) -> None:
        """So much of an answer in one piece has come by now."""
        if size_bytes >= self._noted_bytes + _PROGRESS_BYTES:
            self._noted_bytes = size_bytes
            self.note_progress()

    def bear(self, pause_s: float | None) -> None:
        """Have the next progress come within this from now on; None changes nothing."""
        if pause_s is not None and pause_s < self._idle_s:
            self._idle_s = self._left_s = pause_s
            self._watch.look_by(self._time() + pause_s)

    def _waited(self) -> str:
        if not self._has_read:
            return "sent the head of an answer and then nothing"
        return (
            f"fell silent for {self._idle_s:g} s"
            if self._left_s >= self._idle_s
            else "was too slow to go on with its answer"
        )

    def _break(self, error: Exception) -> None:
        if isinstance(error, ProxyError):
            self.broken = error
        elif isinstance(error, TimeoutError):
            self.broken = ProxyError(ErrorKind.UPSTREAM_TIMEOUT, f"{self.who} {self._waited()}")
        else:
            message = f"{self.who} broke off its answer before it was complete"
            self.broken = ProxyError(ErrorKind.UPSTREAM_FAILED, message)

    async def drain(self) -> bytes:
        """Wait a moment for the end of what has been read, so that the connection can be kept; always empty."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while await self.read():
                    pass
        return b""

    def due_s(self, now_s: float) -> float:
        """See watch.Wait."""
        due_s = now_s + self._idle_s  # a pause may begin at any moment
        if self._is_waiting:
            waits_until_s = self._asked_s + (min(self._left_s, self._idle_s) if self._has_read else self._left_s)
            if now_s >= waits_until_s:
                self._answer.fail(TimeoutError())
                return math.inf
            due_s = min(due_s, waits_until_s)
        return due_s

    def end(self) -> None:
        """Reading has ended: close the connection, unless the whole answer was read and it can be kept."""
        self._watch.leave(self)
        self._answer.close()

    def cut_off(self, error: Exception) -> None:
        """End this answer for its reader at once, with this error."""
        self._answer.fail(error)

    async def body(self) -> bytes:
        """The whole body; an answer larger than the limit is an error."""
        limit_bytes = self._limits.body_bytes
        pieces, size_bytes = [], 0
        while piece := await self.read():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                message = f"{self.who} sent an answer of more than {limit_bytes} bytes"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            pieces.append(piece)
        if self.broken is not None:
            raise self.broken
        return b"".join(pieces)

    async def error_text(self) -> str:
        """The body as text, cut at the limit for errors."""
        text = bytearray()
        while len(text) < self._limits.error_bytes and (piece := await self.read()):
            text += piece
        return bytes(text[: self._limits.error_bytes]).decode("utf-8", "replace")
