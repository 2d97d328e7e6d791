"""What passes untouched is what every client can read; what an engine sends besides is mended or left out."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.engines import engine_of
from ollama_proxyd.edges.backends.pass_through import PassThrough
from tests.edges.backends.test_clean_ends import CLIENTS, PAIRS, ROUTE, STREAM, TYPE
from tests.edges.backends.test_exchange import (
    answer,
    at_once,
    backend_at,
    frames,
    one_byte_each,
    text,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, serving, streams

BOTH = pytest.mark.parametrize("api", list(STREAM))


def frame(api: Api, payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n" if api is Api.OPENAI else payload + b"\n"


def says(api: Api, words: str) -> bytes:
    if api is Api.OPENAI:
        return json.dumps({"choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]}).encode()
    return json.dumps({"message": {"role": "assistant", "content": words}, "done": False}).encode()


def end(api: Api) -> bytes:
    if api is Api.OPENAI:
        return frame(api, b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}') + frame(api, b"[DONE]")
    return frame(api, b'{"message":{"content":""},"done":true,"done_reason":"stop"}')


def read_by_a_client(api: Api, sent: bytes) -> str:
    """What a strict client of a dialect makes of a stream."""
    if api is Api.OLLAMA:
        lines = [json.loads(line.decode()) for line in sent.split(b"\n")[:-1]]
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        return "".join(line["message"]["content"] for line in lines)
    events = [event.decode() for event in sent.split(b"\n\n")[:-1] if not event.startswith((b":", b"event: ping"))]
    assert events[-1] == "data: [DONE]"
    payloads = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    return "".join(each["choices"][0]["delta"].get("content", "") for each in payloads)


async def sent_to_a_client(api: Api, *blocks: bytes) -> bytes:
    routes = {ROUTE[api]: streams(*blocks, content_type=TYPE[api])}
    events = await answer(api, routes, CLIENTS[api](stream=True))
    assert isinstance(events[-1], Finished)
    return frames(events)


BROKEN = [b"null", b"[1,2]", b"17", b'"x"', b"true", b"NaN", b'{"half', b"[" * 5000, b"<html>", b"\xff\xfe"]


@BOTH
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("pieces", [at_once, one_byte_each])
async def test_a_frame_that_no_client_can_read_is_left_out_wherever_it_comes(
    api: Api, broken: bytes, pieces: Any
) -> None:
    for before in ((), ("one ",)):
        sent = b"".join(frame(api, says(api, word)) for word in before) + frame(api, broken)
        sent += frame(api, says(api, "two")) + end(api)
        assert read_by_a_client(api, await sent_to_a_client(api, *pieces(sent))) == "".join((*before, "two"))


@PAIRS
async def test_frames_that_are_glued_together_are_read_one_by_one(engine: Api, client: Api) -> None:
    one, two = says(engine, "one "), says(engine, "two")
    for glue in (b"", b" ", b"data: " if engine is Api.OPENAI else b"\t"):
        routes = {ROUTE[engine]: streams(frame(engine, one + glue + two), end(engine), content_type=TYPE[engine])}
        events = await answer(engine, routes, CLIENTS[client](stream=True))
        assert (text(events) or read_by_a_client(client, frames(events))) == "one two"


@BOTH
async def test_odd_json_is_mended_for_clients_that_read_strictly(api: Api) -> None:
    for odd in (
        says(api, "two")[:-1] + b', "x": NaN}',
        says(api, "two").replace(b"two", b"two\xff"),
        b" " + says(api, "two"),
    ):
        sent = await sent_to_a_client(api, frame(api, says(api, "one ")), frame(api, odd), end(api))
        assert read_by_a_client(api, sent).rstrip("\ufffd") == "one two"


async def test_blank_lines_between_ollamas_lines_are_left_out() -> None:
    one, two = (frame(Api.OLLAMA, says(Api.OLLAMA, word)) for word in ("one ", "two"))
    for blank in (b"\n", b"\r\n", b"  \n"):
        sent = await sent_to_a_client(Api.OLLAMA, blank + one + blank, two, blank, end(Api.OLLAMA) + blank)
        assert read_by_a_client(Api.OLLAMA, sent) == "one two"


async def test_events_without_data_are_left_out_since_openais_sdk_reads_their_data() -> None:
    one, done = frame(Api.OPENAI, says(Api.OPENAI, "one")), end(Api.OPENAI)
    for empty in (b"data:", b"data", b"data: ", b"data: : ping", b"event: ping", b"id: 7\nretry: 5", b": x\nretry: 5"):
        for line_end in (b"\n", b"\r\n"):
            blank = (empty + b"\n\n").replace(b"\n", line_end)
            assert await sent_to_a_client(Api.OPENAI, blank + one, blank, done) == one + done


@PAIRS
async def test_byte_order_marks_and_spaces_around_a_name_take_no_words_away(engine: Api, client: Api) -> None:
    odd = [b"\xef\xbb\xbf"] if engine is Api.OLLAMA else [b"\xef\xbb\xbf", b" ", b"\t"]
    for before in odd:
        sent = [before + each for each in (frame(engine, says(engine, word)) for word in ("one ", "two"))]
        last = [before + each + b"\n\n" for each in end(engine).split(b"\n\n") if each.strip()]
        routes = {ROUTE[engine]: streams(*sent, *last, content_type=TYPE[engine])}
        events = await answer(engine, routes, CLIENTS[client](stream=True))
        assert (text(events) or read_by_a_client(client, frames(events))) == "one two"


async def test_comments_and_events_of_other_names_reach_openais_clients_and_what_is_no_chunk_does_not() -> None:
    one = frame(Api.OPENAI, says(Api.OPENAI, "one"))
    for aside in (b": ping\n\n", b"event: ping\ndata: {}\n\n", b'event : ping\r\ndata: {"type":"ping"}\r\n\r\n'):
        assert await sent_to_a_client(Api.OPENAI, one, aside, end(Api.OPENAI)) == one + aside + end(Api.OPENAI)
    for none in (
        b"event: ping\ndata: hello\n\n",
        b"event: message\ndata: {}\n\n",
        b"data: {}\n\n",
        b"event:\ndata: {}\n\n",
    ):
        assert await sent_to_a_client(Api.OPENAI, one, none, end(Api.OPENAI)) == one + end(Api.OPENAI)


@BOTH
async def test_an_error_ends_a_stream_in_the_clients_form_and_nothing_follows_it(api: Api) -> None:
    one, two = frame(api, says(api, "one ")), frame(api, says(api, "two"))
    for said in (b'{"error":"out of memory"}', b'{"error":{"message":"out of memory"}}', b'{"error":5}'):
        sent = one + frame(api, said) + two + end(api)
        routes = {ROUTE[api]: streams(sent, content_type=TYPE[api])}
        async with serving(FakeEngine(routes)) as server, backend_at(server.url, api) as backend:
            before, error = await until_it_fails(backend, CLIENTS[api](stream=True))
        assert frames(before) == one
        assert ("out of memory" in error.message) == (b"memory" in said)


@pytest.mark.parametrize("client", list(CLIENTS))
async def test_an_error_after_the_finish_reason_is_nobodys(client: Api) -> None:
    done = end(Api.OPENAI).removesuffix(b"data: [DONE]\n\n")
    sent = frame(Api.OPENAI, says(Api.OPENAI, "one")) + done
    late = frame(Api.OPENAI, b'{"error":{"message":"late"}}')
    for blocks in ((sent, late), (sent + late,)):
        routes = {ROUTE[Api.OPENAI]: streams(*blocks, content_type=TYPE[Api.OPENAI])}
        events = await answer(Api.OPENAI, routes, CLIENTS[client](stream=True))
        assert isinstance(events[-1], Finished)
        assert (text(events) or read_by_a_client(client, frames(events))) == "one"


async def test_a_mended_frame_has_the_names_of_the_first_one_also_after_a_comment() -> None:
    names = {"id": "chat-1", "object": "chunk", "created": 5, "model": "tiny"}
    one = {**names, "choices": [{"index": 0, "delta": {"content": "one "}}]}
    odd = {"id": [], "object": 5, "created": "x", "model": None, "choices": [{"index": 0, "delta": {"content": "two"}}]}
    sent = await sent_to_a_client(
        Api.OPENAI,
        b": ping\n\n",
        *(frame(Api.OPENAI, json.dumps(each).encode()) for each in (one, odd)),
        end(Api.OPENAI),
    )
    payloads = [json.loads(event.removeprefix(b"data: ")) for event in sent.split(b"\n\n")[1:3]]
    assert [{name: each[name] for name in names} for each in payloads] == [names, names]
    assert read_by_a_client(Api.OPENAI, sent) == "one two"


@pytest.mark.parametrize("chunking", [at_once, one_byte_each])
@pytest.mark.parametrize("client", list(CLIENTS))
async def test_an_ollama_line_that_is_spread_over_several_is_read(client: Api, chunking: Any) -> None:
    said, last = json.loads(says(Api.OLLAMA, "two")), json.loads(end(Api.OLLAMA))
    spread = b"".join(json.dumps(each, indent=2).encode() + b"\n" for each in (said, last))
    sent = chunking(frame(Api.OLLAMA, says(Api.OLLAMA, "one ")) + spread)
    routes = {ROUTE[Api.OLLAMA]: streams(*sent, content_type=TYPE[Api.OLLAMA])}
    events = await answer(Api.OLLAMA, routes, CLIENTS[client](stream=True))
    assert isinstance(events[-1], Finished)
    if client is Api.OLLAMA:
        assert read_by_a_client(client, frames(events)) == "one two"
    else:
        assert text(events) == "one two"


def wrapped(before: bytes) -> Callable[[bytes], bytes]:
    return lambda sent: sent.replace(b"data: {", b"data: " + before + b"{").replace(b"}\n\n", b"}}\n\n")


KIND: dict[str, tuple[Any, Any]] = {
    "a name in capitals": (lambda sent: sent.replace(b"data:", b"Data:"), [Api.OPENAI]),
    "all in capitals": (lambda sent: sent.replace(b"data:", b"DATA :"), [Api.OPENAI]),
    "in another object": (wrapped(b'{"data": '), [Api.OPENAI]),
    "in a result": (wrapped(b'{"ok": 1, "result": '), [Api.OPENAI]),
    "a delta of text": (lambda sent: sent.replace(b'{"content": "two"}', b'"two"'), [Api.OPENAI]),
    "a message of text": (
        lambda sent: sent.replace(b'{"role": "assistant", "content": "two"}', b'"two"'),
        [Api.OLLAMA],
    ),
    "truth as text": (lambda sent: sent.replace(b'"done":true', b'"done":"true"'), [Api.OLLAMA]),
    "truth as number": (lambda sent: sent.replace(b'"done":true', b'"done":1'), [Api.OLLAMA]),
    "numbers as text": (lambda sent: sent.replace(b'"index": 0', b'"index": "0"'), [Api.OPENAI]),
}


@pytest.mark.parametrize("kind", KIND)
@PAIRS
async def test_what_is_meant_beyond_doubt_is_read(engine: Api, client: Api, kind: str) -> None:
    change, engines = KIND[kind]
    if engine not in engines:
        return
    whole = [frame(engine, says(engine, word)) for word in ("one ", "two")] + [end(engine)]
    sent = change(b"".join(whole))
    assert sent != b"".join(whole)
    for stream in (True, False):
        routes = {ROUTE[engine]: streams(sent, content_type=TYPE[engine])}
        events = await answer(engine, routes, CLIENTS[client](stream=stream))
        assert isinstance(events[-1], Finished)
        assert events[-1].skipped_frames == 0
        assert (text(events) or read_by_a_client(client, frames(events))) == "one two"


TORN = (b'{"choices":[{"ind', b'{"mess', b'{"model":"m","message":{"role":"assistant","content":"lost', b'{"', b"{")


@pytest.mark.parametrize("torn", TORN)
@PAIRS
async def test_a_torn_frame_is_skipped_and_counted_and_a_torn_end_is_none(
    engine: Api, client: Api, torn: bytes
) -> None:
    one, two = (frame(engine, says(engine, word)) for word in ("one ", "two"))
    for stream in (True, False):
        sent = one + frame(engine, torn) + two + end(engine)
        routes = {ROUTE[engine]: streams(sent, content_type=TYPE[engine])}
        events = await answer(engine, routes, CLIENTS[client](stream=stream))
        assert isinstance(events[-1], Finished)
        assert events[-1].skipped_frames == 1
        assert (text(events) or read_by_a_client(client, frames(events))) == "one two"
    async with (
        serving(FakeEngine({ROUTE[engine]: streams(one + frame(engine, torn), content_type=TYPE[engine])})) as server,
        backend_at(server.url, engine) as backend,
    ):
        before, _ = await until_it_fails(backend, CLIENTS[client](stream=True))
    assert (text(before) or frames(before)) in {"one ", one}


def test_which_answer_is_read_is_told_by_the_first_frame_of_all_pieces() -> None:
    """A frame of another number that happens to begin a piece hides no words of the one that began."""
    began, other = (json.dumps({"choices": [{"index": at, "delta": {"role": "assistant"}}]}).encode() for at in (0, 1))
    first, rest = frame(Api.OPENAI, began), frame(Api.OPENAI, other) + frame(Api.OPENAI, says(Api.OPENAI, "Hi"))
    dialect = engine_of(Api.OPENAI, "llamacpp").speaks[0]
    reader = PassThrough(dialect, CLIENTS[Api.OPENAI](stream=True), None, "the backend")
    assert not reader.feed(first)
    assert [each.frame for each in reader.feed(rest)] == [first + rest]
