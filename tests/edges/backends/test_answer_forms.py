"""What an answer is shows in its bytes, not in what its head calls them."""

import asyncio
import codecs
from collections.abc import Callable

import pytest

from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.requests import Api
from tests.edges.backends.test_clean_ends import CLIENTS, PAIRS, ROUTE, STREAM, WHOLE
from tests.edges.backends.test_exchange import (
    answer,
    at_once,
    backend_at,
    events_of,
    frames,
    one_byte_each,
    sevens,
    text,
)
from tests.upstreams.fake_engines import RawServer, playing, streams

TYPES = ("text/event-stream", "application/json", "text/plain; charset=utf-8", "application/octet-stream", "a/b")


@PAIRS
@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("chunking", [at_once, sevens, one_byte_each])
async def test_a_stream_under_any_type_and_in_any_pieces_is_one(
    engine: Api, client: Api, content_type: str, chunking: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    if engine is Api.OLLAMA and content_type not in TYPES[:2]:
        content_type = "application/x-ndjson"
    routes = {ROUTE[engine]: streams(*chunking(STREAM[engine]), content_type=content_type)}
    for stream in (True, False):
        events = await answer(engine, routes, CLIENTS[client](stream=stream))
        assert (text(events), frames(events)) in {("Grüß Gott", b""), ("", STREAM[engine])}
        assert isinstance(events[-1], Finished)


@PAIRS
@pytest.mark.parametrize("content_type", TYPES)
async def test_a_whole_answer_under_any_type_is_one(engine: Api, client: Api, content_type: str) -> None:
    for body in (WHOLE[engine], WHOLE[engine].replace(b'{"', b'{\r\n  "'), b"\n \n" + WHOLE[engine] + b"\r\n"):
        routes = {ROUTE[engine]: streams(body, content_type=content_type)}
        for stream in (True, False):
            events = await answer(engine, routes, CLIENTS[client](stream=stream))
            assert text(events) == "yes" or frames(events).strip() == body.strip()
            assert isinstance(events[-1], Finished)


@PAIRS
async def test_an_answer_without_a_type_and_with_a_mark_of_its_encoding_is_read(engine: Api, client: Api) -> None:
    for body, stream in ((STREAM[engine], True), (WHOLE[engine], False)):

        async def says(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + codecs.BOM_UTF8 + body)  # noqa: B023
            await writer.drain()

        async with playing(says) as raw, backend_at(raw.url, engine) as backend:
            events = await events_of(backend, CLIENTS[client](stream=stream))
        assert text(events) in {"Grüß Gott", "yes"} or frames(events) == body


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
@pytest.mark.parametrize("client", list(CLIENTS))
async def test_a_stream_with_other_line_ends_comes_as_it_is_made(end: bytes, client: Api) -> None:
    sent = STREAM[Api.OPENAI].replace(b"\n", end)
    routes = {ROUTE[Api.OPENAI]: streams(*sevens(sent), content_type="text/event-stream")}
    events = await answer(Api.OPENAI, routes, CLIENTS[client](stream=True))
    assert (text(events), frames(events)) in {("Grüß Gott", b""), ("", sent)}
    assert len(events) > 3, "not in one piece at its end"
