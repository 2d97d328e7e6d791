"""What the fuzzer tries: each target takes any bytes, and fails where a rule about them does not hold."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.base import Dialect, Stamps, StreamReader
from ollama_proxyd.dialects.framing.gathering import finished_calls, joined
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.responses.engine import NativeResponses
from ollama_proxyd.edges.backends.engines import engine_of
from ollama_proxyd.edges.backends.pass_through import PassThrough
from ollama_proxyd.edges.plumbing.call import BrokenOffError
from ollama_proxyd.edges.plumbing.upstream.connection import Connection
from ollama_proxyd.edges.plumbing.upstream.head import NotHttpError

DIALECTS: Sequence[Dialect] = (
    Ollama(),
    engine_of(Api.OPENAI, "llamacpp").speaks[0],
    Anthropic(),
    NativeResponses(),
)
PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses")
STAMPS = Stamps(lambda: "id", lambda: 5, lambda: "2026-01-01T00:00:00Z", lambda: 7)
_ASKED = (
    b'{"model":"m","stream":true,"max_tokens":9,"stream_options":{"include_usage":true},'
    b'"messages":[{"role":"user","content":"x"}],"input":"x",'
    b'"tools":[{"type":"function","name":"f","function":{"name":"f","parameters":{"type":"object"}}}]}'
)
ASKED = tuple(dialect.calls[path](_ASKED, Hints()) for dialect, path in zip(DIALECTS, PATHS, strict=True))
_MADE_ID = re.compile(r"^call_[0-9a-f]{8}_")
"""How an id begins that we gave a call of Ollama's which had none: by chance, anew for each answer."""
SPLITS = 3
"""In how many ways the pieces of one stream are cut."""


def stream(data: bytes) -> None:
    """Frames that a client of another API gets: whatever comes in whichever pieces, the same is understood."""
    at, seed, data = _chosen(data)
    heard = _heard(at, [data])
    for cut in range(SPLITS):
        assert _heard(at, _pieces(data, Random(seed + cut))) == heard, "the pieces changed what was understood"


def passing(data: bytes) -> None:
    """Frames that pass to a client of their own API: whatever comes in whichever pieces, the same bytes pass.

    A stream without a word may end as empty or as unreadable.
    """
    at, seed, data = _chosen(data)
    passed, has_words = _passed(at, [data]), any(_heard(at, [data])[:3])
    for cut in range(SPLITS):
        same = _passed(at, _pieces(data, Random(seed + cut))) == passed
        assert same or not has_words, "the pieces changed what passed"


def whole(data: bytes) -> None:
    """A whole answer is understood or refused, and what was understood reaches clients of every API."""
    at, _, data = _chosen(data)
    DIALECTS[at].answer_ending(data)
    with suppress(ProxyError):
        _told_to_all(DIALECTS[at].decode_answer(replace(ASKED[at], stream=False), data))


def request(data: bytes) -> None:
    """A request is refused, or can be written for engines of each API, which then read the same question."""
    at, which, data = _chosen(data)
    calls = tuple(DIALECTS[at].calls.values())
    with suppress(ProxyError):
        asked = calls[which % len(calls)](data, Hints())
        for dialect in DIALECTS:
            with suppress(ProxyError):
                dialect.render(asked, "other")


def http(data: bytes) -> None:
    """An answer of HTTP/1.1 is read or refused, the same in whichever pieces it comes."""
    _, seed, data = _chosen(data)
    answer = asyncio.run(_received([data]))
    for cut in range(SPLITS):
        assert asyncio.run(_received(_pieces(data, Random(seed + cut)))) == answer, "the pieces changed the answer"


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (stream, passing, whole, request, http)
}


def _chosen(data: bytes) -> tuple[int, int, bytes]:
    """Which dialect, a number that decides the rest, and what is left."""
    head = data[:2].ljust(2, b"\0")
    return head[0] % len(DIALECTS), head[1], data[2:]


def _pieces(data: bytes, random: Random) -> list[bytes]:
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(1, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _fed(dialect: Dialect, reader: StreamReader, pieces: Sequence[bytes]) -> tuple[list[Event], str]:
    """The events of a stream, and the failure in which it ended."""
    splitter, events = dialect.splitter(), list[Event]()
    try:
        for piece in pieces:
            if not reader.ended:
                events += reader.feed(splitter.feed(piece))
        if not reader.ended and (rest := splitter.remainder()):
            events += reader.feed(rest.rstrip(b"\r\n") + dialect.frame_ends[0])
        events.append(reader.finish())
    except ProxyError as error:
        return events, str(error)
    return events, ""


def _heard(at: int, pieces: Sequence[bytes]) -> Any:
    events, failure = _fed(DIALECTS[at], DIALECTS[at].decoder(ASKED[at]), pieces)
    with suppress(ProxyError):
        _told_to_all(events)
    said = joined(events)
    calls = [replace(each, id=_MADE_ID.sub("", each.id or "")) for each in said.tool_calls]
    ends = [(event.reason, event.usage) for event in events if isinstance(event, Finished)]
    return said.text, said.thinking, calls, ends, failure


def _passed(at: int, pieces: Sequence[bytes]) -> Any:
    """The lines that pass; one without anything says nothing but that an event ends."""
    reader = PassThrough(DIALECTS[at], ASKED[at], None, "the backend")
    with patch("time.time", STAMPS.unix_s):
        events, failure = _fed(DIALECTS[at], reader, pieces)
    passed = b"".join(getattr(event, "frame", None) or b"" for event in events)
    return [line for line in passed.splitlines() if line], failure


def _told_to_all(events: Sequence[Event]) -> None:
    """Have clients of each API told; each hears the words that were said."""
    if not events or not isinstance(events[-1], Finished):
        return
    said = joined(events)
    finished_calls(said.tool_calls, events[-1])
    for dialect, asked in zip(DIALECTS, ASKED, strict=True):
        encoder = dialect.encoder(asked, STAMPS, 0)
        frames = b"".join([encoder.encode(event) for event in events])
        reader = dialect.decoder(asked)
        assert joined(reader.feed(frames)).text == said.text, f"{dialect.api} clients hear other words"
        reader.finish()
        assert reader.skipped_frames == 0, f"{dialect.api} clients cannot read a frame"
        in_one: Request = replace(asked, stream=False)
        body = dialect.encoder(in_one, STAMPS, 0).whole(events)
        assert joined(dialect.decode_answer(in_one, body)).text == said.text, f"{dialect.api} clients hear other words"


class _Wire(asyncio.Transport):
    """A transport that sends nothing and tells when it is closed."""

    is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody receives it."""

    def abort(self) -> None:
        """Nothing more comes."""
        self.is_closed = True

    def pause_reading(self) -> None:
        """All has come already."""

    resume_reading = pause_reading


async def _received(pieces: Sequence[bytes]) -> Any:
    """What an answer in these pieces is taken for: its status, headers and body, or a failure."""
    wire, connection = _Wire(), Connection(lambda _: None)
    connection.connection_made(wire)
    asking = asyncio.ensure_future(connection.ask(b"", b"", is_head=False, keeps=True))
    await asyncio.sleep(0)
    for piece in pieces:
        if piece and not wire.is_closed:
            connection.data_received(piece)
    if not wire.is_closed:
        connection.connection_lost(None)
    body = b""
    try:
        await asking
        while piece := await connection.read():
            body += piece
    except (NotHttpError, BrokenOffError, EOFError) as error:
        return connection.status, dict(connection.headers), body, type(error).__name__
    return connection.status, dict(connection.headers), body, None
