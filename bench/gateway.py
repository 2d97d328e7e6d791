"""Asks a picker as Envoy does: one connection of HTTP/2, a stream for each request, at a rate that does not wait."""

import asyncio
import gc
import random
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    MOST_WINDOW,
    PREFACE,
    Kind,
    Setting,
    frame,
    settings,
)

PATH: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"
OPEN_WINDOW: Final = 2**30
HEADERS: Final = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "inference.example",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
    "user-agent": "bench",
    "x-request-id": "5b0c3d6e-1111-4222-8333-444455556666",
    "x-forwarded-proto": "http",
}


def head() -> Any:
    """The head of a client's request, as the gateway tells it."""
    message = pb.ProcessingRequest()
    message.protocol_config.request_body_mode = message.protocol_config.response_body_mode = 4
    for name, value in HEADERS.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message


def _message(message: Any) -> bytes:
    content = message.SerializeToString()
    return b"\0" + len(content).to_bytes(4) + cast("bytes", content)


def _answer(body: bytes) -> list[Any]:
    """An answer in one piece, as the gateway tells it."""
    told = pb.ProcessingRequest()
    for name, value in {":status": "200", "content-type": "application/json"}.items():
        told.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    told.response_headers.end_of_stream = not body
    return [told, pb.ProcessingRequest(response_body=pb.HttpBody(body=body, end_of_stream=True))] if body else [told]


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that gets a place in the table, as Envoy writes all but the path."""
    return b"%c%c%b%c%b" % (0x40, len(name), name, len(value), value)


_START: Final = b"\x83\x86\x04" + bytes((len(PATH),)) + PATH
"""`:method POST`, `:scheme http`, and the path."""
_FIRST: Final = _START + _literal(b"te", b"trailers") + _literal(b"content-type", b"application/grpc")
_NEXT: Final = _START + b"\xbf\xbe"


class Latencies(NamedTuple):
    """What a gateway saw: how many decisions a second, and how long they took."""

    per_s: float
    p50_ms: float
    p99_ms: float
    most_ms: float


class Gateway(asyncio.Protocol):
    """One connection to a picker."""

    def __init__(self, body: bytes, answer: bytes) -> None:
        """`answer` is the body of each answer, empty where only its head is told."""
        whole = pb.ProcessingRequest(request_body=pb.HttpBody(body=body, end_of_stream=True))
        self._asked = _message(head()), _message(whole)
        self._answered = [_message(each) for each in _answer(answer)]
        self._number = 1
        self._unread = b""
        self._begun: dict[int, float] = {}
        self._decided: set[int] = set()
        self._window = 65_535
        self._transport: asyncio.Transport | None = None
        self.times_s: list[float] = []
        self.refused = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        more = frame(Kind.WINDOW_UPDATE, 0, 0, OPEN_WINDOW.to_bytes(4))
        ours = frame(Kind.SETTINGS, 0, 0, settings({Setting.INITIAL_WINDOW_SIZE: MOST_WINDOW}))
        self._write(PREFACE + ours + more)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The picker is gone."""
        self.is_open = False

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def ask(self) -> None:
        """Begin one request."""
        number, self._number = self._number, self._number + 2
        self._begun[number] = time.perf_counter()
        sent = [frame(Kind.HEADERS, END_HEADERS, number, _FIRST if number == 1 else _NEXT)]
        for each in self._asked:
            pieces = [each[at : at + FRAME_BYTES] for at in range(0, len(each), FRAME_BYTES)]
            sent.extend([frame(Kind.DATA, 0, number, piece) for piece in pieces])
            self._window -= len(each)
        self._write(b"".join(sent))

    @property
    def may_ask(self) -> bool:
        """Whether the picker allows another request of this size."""
        return self._window > 2 * sum(map(len, self._asked))

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        unread, at = self._unread + data, 0
        while len(unread) - at >= 9:
            end = at + 9 + int.from_bytes(unread[at : at + 3])
            if end > len(unread):
                break
            number = int.from_bytes(unread[at + 5 : at + 9])
            self._take(unread[at + 3], unread[at + 4], number, unread[at + 9 : end])
            at = end
        self._unread = unread[at:]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == Kind.DATA and payload and number not in self._decided:
            self._decided.add(number)
            self.times_s.append(time.perf_counter() - self._begun[number])
            self._window -= sum(map(len, self._answered))
            told = [frame(Kind.DATA, 0, number, each) for each in self._answered]
            self._write(b"".join(told) + frame(Kind.DATA, END_STREAM, number))
        elif kind == Kind.SETTINGS and not flags & ACK:
            self.is_open = True
            self._write(frame(Kind.SETTINGS, ACK, 0))
        elif kind == Kind.PING and not flags & ACK:
            self._write(frame(Kind.PING, ACK, 0, payload))
        elif kind == Kind.WINDOW_UPDATE and not number:
            self._window += int.from_bytes(payload)
        elif kind == Kind.RST_STREAM or (kind == Kind.HEADERS and flags & END_STREAM):
            self._begun.pop(number, None)
            if number not in self._decided:
                self.refused += 1
            self._decided.discard(number)

    async def run(self, gap_s: Callable[[], float], seconds: float) -> Latencies:
        """Ask with these gaps between requests, whether earlier ones are answered or not."""
        self.times_s.clear()
        self.refused = 0
        gc.collect()
        gc.disable()
        begun_s = due_s = time.perf_counter()
        while due_s < begun_s + seconds:
            while due_s <= time.perf_counter() and self.may_ask:
                self.ask()
                due_s += gap_s()
            await asyncio.sleep(max(due_s - time.perf_counter(), 0.0))
        took_s = time.perf_counter() - begun_s
        for _ in range(500):
            if not self._begun:
                break
            await asyncio.sleep(0.02)
        gc.enable()
        if self.refused or self._begun:
            raise RuntimeError(f"{self.refused} requests were refused, {len(self._begun)} not answered")
        times = sorted(self.times_s)
        p50_s, p99_s = times[len(times) // 2], times[len(times) * 99 // 100]
        return Latencies(len(times) / took_s, p50_s * 1000, p99_s * 1000, times[-1] * 1000)


def evenly(per_s: float) -> Callable[[], float]:
    """One after the other."""
    return lambda: 1 / per_s


def at_random(per_s: float) -> Callable[[], float]:
    """As many independent clients ask: now and then several at once."""
    chance = random.Random(17)
    return lambda: chance.expovariate(per_s)
