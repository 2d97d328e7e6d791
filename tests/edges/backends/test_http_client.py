"""The HTTP client: pooled, strict about time, follows nothing, retries a stale connection once."""

import asyncio
import resource
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.http_writer import StreamWriter
from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.plumbing.call import PIECE_BYTES, Call
from ollama_proxyd.edges.plumbing.http import HttpClient, Timeouts
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply
from ollama_proxyd.edges.plumbing.upstream import pool
from tests.upstreams.fake_engines import FakeEngine, RawServer, Says, a_client, playing, serving, streams

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True, params=["own", "aiohttp"])
def client_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which client sends plain requests: each rule holds for both."""
    if request.param == "aiohttp":
        monkeypatch.setattr(pool, "takes", lambda call: False)
    return str(request.param)


def call(url: str, method: str = "POST", body: bytes | None = b"{}") -> Call:
    return Call(method, URL(url), "backend npu at " + url, {"Content-Type": "application/json"}, body)


async def fetched(client: HttpClient, what: Call) -> bytes:
    async with client.ask(what) as reply:
        return await reply.body()


async def failure(client: HttpClient, what: Call) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await fetched(client, what)
    return caught.value


async def test_a_connection_is_used_again() -> None:
    async def two_answers(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await raw.request(reader)
            writer.write(OK)

    async with playing(two_answers) as raw, a_client() as client:
        assert await fetched(client, call(raw.url)) == b"{}"
        assert await fetched(client, call(raw.url)) == b"{}"
        assert raw.connections == 1


async def test_a_connection_that_is_not_to_be_kept_is_closed_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE_S", 600)
    closed = asyncio.Event()

    async def one_answer(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(OK)
        assert await reader.read() == b""
        closed.set()

    async with playing(one_answer) as raw, a_client() as client:
        assert await fetched(client, replace(call(raw.url), keeps=False)) == b"{}"
        async with asyncio.timeout(20):
            await closed.wait()
        assert b"\r\nconnection: close\r\n" in raw.requests[0].lower()


async def test_only_headers_that_are_needed_are_sent() -> None:
    async with serving(FakeEngine({"POST /": Says({})})) as engine, a_client() as client:
        await fetched(client, call(engine.url + "/"))
        sent = {name.lower() for name in engine.asked[0].headers}
    assert sent == {"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length"}
    assert engine.asked[0].headers["Accept-Encoding"] == "identity"
    assert engine.asked[0].headers["User-Agent"].startswith("ollama-proxyd/")


async def test_cookies_are_neither_kept_nor_sent() -> None:
    routes = {"POST /": Says({}, headers={"Set-Cookie": "spy=1; Path=/"})}
    async with serving(FakeEngine(routes)) as engine, a_client() as client:
        await fetched(client, call(engine.url + "/"))
        await fetched(client, call(engine.url + "/"))
    assert "Cookie" not in engine.asked[1].headers


async def stale_after_one(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that closes a kept connection at the very moment of its reuse."""
    await raw.request(reader)
    writer.write(OK)
    await raw.request(reader)


async def test_a_stale_connection_is_retried_once_on_a_new_one() -> None:
    async with playing(stale_after_one) as raw, a_client() as client:
        await fetched(client, call(raw.url))
        assert await fetched(client, call(raw.url, body=b'{"n":2}')) == b"{}"
        assert raw.connections == 2
        assert [request.endswith(b'{"n":2}') for request in raw.requests] == [False, True, True]


async def test_a_large_body_is_sent_in_pieces_with_its_length_and_whole_once_more_on_a_new_connection(
    client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = StreamWriter.write

    async def noting(self: StreamWriter, chunk: memoryview, **rest: Any) -> None:
        written.append(len(chunk))
        await write(self, chunk, **rest)

    monkeypatch.setattr(StreamWriter, "write", noting)
    body = b'{"n":"' + b"x" * 3_000_000 + b'"}'
    async with playing(stale_after_one) as raw, a_client() as client:
        await fetched(client, call(raw.url))
        assert await fetched(client, call(raw.url, body=body)) == b"{}"
        assert raw.connections == 2
        for request in raw.requests[1:]:
            head, _, sent = request.partition(b"\r\n\r\n")
            assert f"\r\nContent-Length: {len(body)}".encode() in head
            assert b"Transfer-Encoding" not in head
            assert sent == body
    if client_kind == "aiohttp":
        assert max(written) <= PIECE_BYTES


async def test_the_retry_takes_no_other_kept_connection() -> None:
    both_asked = asyncio.Barrier(2)

    async def all_kept_are_stale(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = raw.connections
        await raw.request(reader)
        if number <= 2:
            await both_asked.wait()
        writer.write(OK)
        await raw.request(reader)

    async with playing(all_kept_are_stale) as raw, a_client() as client:
        await asyncio.gather(fetched(client, call(raw.url)), fetched(client, call(raw.url)))
        assert raw.connections == 2
        assert await fetched(client, call(raw.url)) == b"{}"
        assert raw.connections == 3


async def test_a_stale_connection_is_retried_only_once() -> None:
    async def never_again(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        if raw.connections == 1:
            writer.write(OK)
            await raw.request(reader)

    async with playing(never_again) as raw, a_client() as client:
        await fetched(client, call(raw.url))
        error = await failure(client, call(raw.url))
        assert raw.connections == 2
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert error.message == f"backend npu at {raw.url} closed the connection without an answer"


async def test_a_new_connection_that_is_closed_without_an_answer_is_not_retried() -> None:
    async def mute(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)

    async with playing(mute) as raw, a_client() as client:
        await failure(client, call(raw.url))
        assert raw.connections == 1


async def test_a_kept_connection_that_broke_inside_the_head_is_not_retried() -> None:
    async def half_a_head(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(OK)
        await raw.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: app")
        await writer.drain()

    async with playing(half_a_head) as raw, a_client() as client:
        await fetched(client, call(raw.url))
        error = await failure(client, call(raw.url))
        assert raw.connections == 1
    assert error.kind is ErrorKind.UPSTREAM_FAILED


async def test_a_redirect_is_not_followed_and_says_so() -> None:
    routes = {"POST /": Says(b"", 307, {"Location": "http://127.0.0.1:1/steal"})}
    async with serving(FakeEngine(routes)) as engine, a_client() as client:
        error = await failure(client, call(engine.url + "/"))
    assert (error.kind, error.status) == (ErrorKind.UPSTREAM_FAILED, 307)
    assert "redirect (307 to http://127.0.0.1:1/steal)" in error.message
    assert len(engine.asked) == 1


async def test_a_compressed_answer_is_refused() -> None:
    routes = {"POST /": Says(b"junk", 200, {"Content-Encoding": "gzip"})}
    async with serving(FakeEngine(routes)) as engine, a_client() as client:
        error = await failure(client, call(engine.url + "/"))
    assert "compressed its answer (gzip)" in error.message


async def test_a_closed_port_is_named_with_the_reason() -> None:
    async with a_client() as client:
        error = await failure(client, call("http://127.0.0.1:1"))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert error.message == "backend npu at http://127.0.0.1:1 cannot be reached: Connection refused"


async def test_a_silent_server_is_a_timeout_before_the_first_byte() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(FakeEngine({"POST /": silent})) as engine, a_client(Timeouts(first_byte_s=0.05)) as client:
        error = await failure(client, call(engine.url + "/"))
        await asyncio.wait_for(engine.left.wait(), 1)
    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert "did not begin to answer within 0.05 s" in error.message


async def test_the_first_byte_of_the_body_has_the_same_deadline_as_the_head() -> None:
    handler = streams(content_type="application/json", then_hang=True)
    async with serving(FakeEngine({"POST /": handler})) as engine, a_client(Timeouts(first_byte_s=0.05)) as client:
        error = await failure(client, call(engine.url + "/"))
    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert "and then nothing" in error.message


async def test_a_stream_that_falls_silent_is_a_timeout() -> None:
    handler = streams(b"one", content_type="application/json", then_hang=True)
    async with serving(FakeEngine({"POST /": handler})) as engine, a_client(Timeouts(idle_s=0.05)) as client:
        error = await failure(client, call(engine.url + "/"))
    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert "fell silent for 0.05 s" in error.message


async def test_a_call_may_bear_only_a_shorter_pause_than_the_configured_one() -> None:
    handler = streams(b"one", content_type="application/json", then_hang=True)
    async with serving(FakeEngine({"POST /": handler})) as engine, a_client(Timeouts(idle_s=60)) as client:
        error = await failure(client, replace(call(engine.url + "/"), pause_s=0.05))
    assert "fell silent for 0.05 s" in error.message


async def halting(request: web.Request) -> web.StreamResponse:
    """One word, and after a pause another."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    await asyncio.sleep(0.1)
    await response.write(b" two")
    return response


async def test_a_pause_within_an_answer_may_be_longer_than_the_wait_for_its_beginning() -> None:
    timeouts = Timeouts(first_byte_s=0.05, idle_s=5)
    async with serving(FakeEngine({"POST /": halting})) as engine, a_client(timeouts) as client:
        assert await fetched(client, call(engine.url + "/")) == b"one two"


async def test_a_short_question_bears_no_pause_longer_than_its_own_wait() -> None:
    short = Timeouts(first_byte_s=5, idle_s=5)
    async with serving(FakeEngine({"POST /": halting})) as engine, a_client(short) as client:
        error = await failure(client, replace(call(engine.url + "/"), first_byte_s=0.05))
    assert "fell silent for 0.05 s" in error.message


async def test_answers_under_way_at_once_are_each_ended_in_their_own_time() -> None:
    engine, timeouts = FakeEngine({"POST /": halting}), Timeouts(idle_s=5)
    async with serving(engine), a_client(timeouts) as client, client.ask(call(engine.url + "/")) as patient:
        begun = await patient.read()
        error = await failure(client, replace(call(engine.url + "/"), first_byte_s=0.05))
        assert begun + await patient.body() == b"one two"
    assert "fell silent for 0.05 s" in error.message


async def test_no_timer_runs_while_no_answer_is_under_way() -> None:
    async with serving(FakeEngine({"POST /": halting})) as engine, a_client(Timeouts()) as client:
        assert await fetched(client, call(engine.url + "/")) == b"one two"
        assert client._watch._timer is None


SLOW_S = 0.8
"""Less than a slow answer takes, and much more than its pauses, which a busy machine makes longer."""


async def slow(request: web.Request) -> web.StreamResponse:
    """Something every now and then."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(8):
        await response.write(b"x")
        await asyncio.sleep(0.2 * SLOW_S)
    return response


async def test_nothing_bounds_the_whole_of_a_stream_that_makes_progress() -> None:
    timeouts, got = Timeouts(first_byte_s=SLOW_S, idle_s=SLOW_S), b""
    async with serving(FakeEngine({"POST /": slow})) as engine, a_client(timeouts) as client:
        async with client.ask(call(engine.url + "/")) as reply:
            while piece := await reply.read():
                reply.note_progress()
                got += piece
        assert got == b"x" * 8


@pytest.mark.parametrize(
    ("note", "error"),
    [(Reply.note_progress, None), (Reply.note_piece, "too slow to go on")],
    ids=["progress", "none"],
)
async def test_what_is_poured_has_as_long_as_what_is_read(note: Callable[[Reply], None], error: str | None) -> None:
    got, timeouts = b"", Timeouts(first_byte_s=SLOW_S, idle_s=SLOW_S)

    def take(piece: bytes) -> bool:
        nonlocal got
        got += piece
        note(reply)
        return True

    engine = FakeEngine({"POST /": slow})
    async with serving(engine), a_client(timeouts) as client, client.ask(call(engine.url + "/")) as reply:
        got += await reply.read()
        await reply.pour(take)
    if error is None:
        assert (got, reply.broken) == (b"x" * 8, None)
    else:
        assert error in str(reply.broken)


async def test_bytes_that_bring_an_answer_no_further_are_a_timeout() -> None:
    timeouts = Timeouts(first_byte_s=SLOW_S, idle_s=SLOW_S)
    async with serving(FakeEngine({"POST /": slow})) as engine, a_client(timeouts) as client:
        error = await failure(client, call(engine.url + "/"))
    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert "too slow to go on" in error.message


async def test_a_server_of_http_1_0_without_keep_alive_works_again_and_again() -> None:
    async def old(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[1")
        await writer.drain()
        writer.write(b",2]")
        await writer.drain()

    async with playing(old) as raw, a_client() as client:
        assert await fetched(client, call(raw.url)) == b"[1,2]"
        assert await fetched(client, call(raw.url)) == b"[1,2]"
        assert raw.connections == 2


async def test_an_answer_that_breaks_off_is_an_error_after_what_came() -> None:
    async def breaks(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        await writer.drain()

    async with playing(breaks) as raw, a_client() as client, client.ask(call(raw.url)) as reply:
        assert await reply.read() == b"hello"
        assert await reply.read() == b""
    assert reply.broken is not None
    assert reply.broken.kind is ErrorKind.UPSTREAM_FAILED
    assert reply.broken.message == f"backend npu at {raw.url} broke off its answer before it was complete"


@pytest.mark.parametrize("ending", [b"5\r\nhel", b""])
async def test_a_stream_that_breaks_off_is_told_in_plain_words(ending: bytes) -> None:
    async def breaks(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + ending)
        await writer.drain()

    async with playing(breaks) as raw, a_client() as client:
        error = await failure(client, call(raw.url))
    assert error.message == f"backend npu at {raw.url} broke off its answer before it was complete"


async def test_what_is_not_http_is_named_as_such() -> None:
    async def ssh(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await raw.request(reader)

    async with playing(ssh) as raw, a_client() as client:
        error = await failure(client, call(raw.url))
    assert "not HTTP" in error.message
    assert error.message.isprintable(), "one line, without a parser's drawing of where it stopped"


async def test_an_answer_larger_than_the_limit_is_refused() -> None:
    routes = {"POST /": Says(b"x" * 2000)}
    async with serving(FakeEngine(routes)) as engine, a_client(limits=Limits(body_bytes=1000)) as client:
        error = await failure(client, call(engine.url + "/"))
    assert "more than 1000 bytes" in error.message


async def test_an_error_body_is_cut_at_its_limit() -> None:
    routes = {"POST /": Says(b"x" * 2000, 500)}
    async with (
        serving(FakeEngine(routes)) as engine,
        a_client(limits=Limits(error_bytes=100)) as client,
        client.ask(call(engine.url + "/")) as reply,
    ):
        assert await reply.error_text() == "x" * 100


async def test_leaving_before_the_end_closes_the_connection_at_once() -> None:
    handler = streams(b"one", content_type="text/event-stream", then_hang=True)
    async with serving(FakeEngine({"POST /": handler})) as engine, a_client() as client:
        async with client.ask(call(engine.url + "/")) as reply:
            assert await reply.read() == b"one"
        await asyncio.wait_for(engine.left.wait(), 1)


async def test_closing_the_client_ends_an_answer_that_still_comes_in() -> None:
    engine = FakeEngine({"GET /": streams(b"first", content_type="text/plain", then_hang=True)})
    async with serving(engine):
        client = HttpClient()
        async with client.ask(Call("GET", URL(engine.url), who="the engine")) as reply:
            assert await reply.read() == b"first"
            reading = asyncio.create_task(reply.read())
            await asyncio.sleep(0)
            await client.close()
            assert await reading == b""
            assert reply.broken is not None
            assert "stopped waiting" in reply.broken.message


async def test_a_lack_of_file_descriptors_of_ours_is_no_fault_of_the_backend() -> None:
    client = HttpClient()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(ProxyError) as caught:
            async with client.ask(Call("GET", URL("http://127.0.0.1:9"), who="the engine")):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await client.close()
    assert caught.value.kind is ErrorKind.OVERLOADED


async def test_what_is_cut_off_hears_the_reason_before_and_after_its_first_byte() -> None:
    async with (
        serving(
            FakeEngine(
                {
                    "POST /slow": streams(then_hang=True, content_type="a/b"),
                    "POST /": streams(b"a", then_hang=True, content_type="a/b"),
                }
            )
        ) as engine,
        a_client() as client,
    ):
        waiting = asyncio.create_task(failure(client, call(engine.url + "/slow")))
        async with client.ask(call(engine.url + "/")) as reply:
            assert await reply.read() == b"a"
            client.cut_off("night falls")
            assert await reply.read() == b""
        assert reply.broken is not None
        assert reply.broken.kind is ErrorKind.UNAVAILABLE
        assert "cut off: night falls" in reply.broken.message
        assert "cut off: night falls" in (await waiting).message


async def test_after_renewing_no_kept_connection_is_used_again() -> None:
    async def answers(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await raw.request(reader):
            writer.write(OK)

    async with playing(answers) as raw, a_client() as client:
        await fetched(client, call(raw.url))
        await client.renew()
        assert await fetched(client, call(raw.url)) == b"{}"
        assert raw.connections == 2


async def test_renewing_lets_what_is_under_way_go_on() -> None:
    routes = {"POST /": streams(b"a", b"b", content_type="a/b")}
    async with (
        serving(FakeEngine(routes)) as engine,
        a_client() as client,
        client.ask(call(engine.url + "/")) as reply,
    ):
        await client.renew()
        assert await reply.body() == b"ab"
