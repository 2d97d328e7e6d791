"""One call of gRPC over HTTP/2: its messages in pieces, the answers to each, and how it ends."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote

from google.protobuf.message import DecodeError

from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

PREFIX_BYTES: Final = 5
OK, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 5, 8, 12, 13, 14
HEAD: Final = b"\x88\x0f\x10\x10application/grpc"
"""`:status 200` and the type of the content, by their numbers of RFC 7541 and without a place in a table."""

Answers: TypeAlias = tuple[bytes, ...]


class Call(Protocol):
    """What a call does with the messages of its client."""

    ends_after_answer: bool
    """Whether one message is all that is asked."""
    outlasts_client: bool
    """Whether it goes on when its client has asked all."""

    def expect(self, size_bytes: int) -> None:
        """A message of this size has begun to come; raises CallFault where it is too large."""

    def take(self, message: bytes) -> Answers | Awaitable[Answers]:
        """The answers to a message."""

    def close(self) -> None:
        """Nothing more is asked, or can be answered."""


class CallFault(Exception):  # noqa: N818 - as gRPC calls it
    """A call ends with a status; `answers` are given before."""

    def __init__(self, status: int, message: str, answers: Answers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.answers = answers


class Line(Protocol):
    """Where a stream sends."""

    def send(self, stream: "Stream", parts: Iterable[bytes] = ()) -> None:
        """Send what is pending and these parts, as far as the windows allow."""

    def credit(self, number: int, size_bytes: int) -> None:
        """Allow the other side so much more."""


class Stream:
    """A call on its way. `window` is how much may be sent, `credit` how much may come."""

    def __init__(self, number: int, line: Line, tasks: Tasks, windows: tuple[int, int]) -> None:
        self.number = number
        self.window, self.credit = windows
        self.pending = deque[bytes]()
        self.trailers: bytes | None = None
        self.has_head = False
        self.is_ended_there = False
        self._line = line
        self._tasks = tasks
        self._call: Call | None = None
        self._heard = bytearray()
        self._owed = 0
        self._most_owed = self.credit // 2
        self._is_expected = self._is_busy = False

    def begin(self, call: Callable[["Stream"], Call] | None, path: str) -> None:
        """Its head has come."""
        if call is None:
            self.finish(UNIMPLEMENTED, f"{path[:200]} is not served here")
        else:
            self._call = call(self)

    def hear(self, piece: bytes, *, ends: bool) -> None:
        """A piece has come."""
        self.is_ended_there |= ends
        self._owed += len(piece)
        if self._call is None:  # it has ended here
            return
        self._heard += piece
        if not self._is_busy:
            self._work()

    def _work(self) -> None:
        """Answer the messages that are whole."""
        try:
            while self._heard and self._call is not None and (message := self._next()) is not None:
                answers = self._call.take(message)
                if not isinstance(answers, tuple):
                    self._is_busy = True
                    self._tasks.start("large", self._answer_later(answers))
                    return
                if answers:
                    self._answer(answers)
        except Exception as error:  # noqa: BLE001 - one call may fail by a fault of ours; all others go on
            self._fail(error)
        self._after_work()

    async def _answer_later(self, answers: Awaitable[Answers]) -> None:
        try:
            found = await answers
            if self._call is not None:
                self._answer(found)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        self._is_busy = False
        self._work()

    def _after_work(self) -> None:
        if self._call is not None and self.is_ended_there and not self._call.outlasts_client:
            self.finish(OK)
        if self._owed >= self._most_owed and not self.is_ended_there:
            self._line.credit(self.number, self._owed)
            self.credit += self._owed
            self._owed = 0

    def _next(self) -> bytes | None:
        """The next whole message, None where more has to come; raises CallFault."""
        heard, call = self._heard, self._call
        if len(heard) < PREFIX_BYTES or call is None:
            return None
        size = int.from_bytes(heard[1:PREFIX_BYTES])
        end = PREFIX_BYTES + size
        if heard[0]:
            raise CallFault(UNIMPLEMENTED, "compressed messages are not read; send them as they are")
        if len(heard) < end:
            if not self._is_expected:
                self._is_expected = True
                call.expect(size)
            return None
        self._is_expected = False
        message = bytes(heard[PREFIX_BYTES:end])
        del heard[:end]
        return message

    def _answer(self, answers: Answers) -> None:
        self.say(answers)
        if self._call is not None and self._call.ends_after_answer:
            self.finish(OK)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, CallFault):
            self.say(error.answers)
            self.finish(error.status, error.message)
        elif isinstance(error, DecodeError):
            self.finish(INTERNAL, "the message cannot be read")
        else:
            log.error("a request could not be decided by a fault of the picker", exc_info=error)
            self.finish(INTERNAL, "a fault of the picker")

    def say(self, answers: Answers) -> None:
        """Send answers."""
        if self.trailers is not None:
            return
        if parts := [b"\0" + len(each).to_bytes(4) + each for each in answers]:
            self._line.send(self, parts)

    def finish(self, status: int, message: str = "") -> None:
        """End the call; what is pending is sent before."""
        if self.trailers is not None:
            return
        self.trailers = _trailers(status, message)
        self.close()
        self._line.send(self)

    def close(self) -> None:
        """Nothing more is asked."""
        call, self._call = self._call, None
        self._heard.clear()
        if call is not None:
            call.close()


@lru_cache(64)
def _trailers(status: int, message: str) -> bytes:
    written = b"\x00\x0bgrpc-status" + _text(str(status))
    return written + b"\x00\x0cgrpc-message" + _text(quote(message)[:100]) if message else written


def _text(value: str) -> bytes:
    """A text of fewer than 127 characters as heads have it."""
    return bytes((len(value),)) + value.encode("ascii")
