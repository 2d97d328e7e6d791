"""Our own connection to a plain server: what it takes for an answer, when it is used again, who waits for whom."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.plumbing.call import PIECE_BYTES, Call, Take
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.edges.plumbing.upstream import pool
from ollama_proxyd.edges.plumbing.upstream.connection import Connection
from ollama_proxyd.edges.plumbing.upstream.head import request_head
from ollama_proxyd.edges.plumbing.upstream.pool import Pool, takes
from ollama_proxyd.edges.plumbing.watch import Watch
from ollama_proxyd.edges.plumbing.way import Way
from tests.upstreams.fake_engines import RawServer, Script, a_client, playing

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
H = b"HTTP/1.1 200 OK\r\n"


def says(*answers: bytes) -> Script:
    """A server that answers each request of a connection with the next of these bytes, and closes after the last."""

    async def script(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await raw.request(reader)
            writer.write(answer)
            await writer.drain()

    return script


async def keeping(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await raw.request(reader):
        writer.write(OK)


def call(url: str, method: str = "POST", body: bytes | None = b"{}") -> Call:
    return Call(method, URL(url), "backend npu", {}, body)


async def body_of(script: Script, what: str = "POST") -> bytes:
    async with playing(script) as raw, a_client() as client, client.ask(call(raw.url, what)) as reply:
        return await reply.body()


@pytest.mark.parametrize(
    "answer",
    [
        H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        H + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        H + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        H + b"Content-Length: 2, 2\r\n\r\n{}",
        H + b"Content-Length: +2\r\n\r\n{}",
        H + b"Content-Length: 0x2\r\n\r\n{}",
        H + b"Content-Length : 2\r\n\r\n{}",
        H + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        H + b"X-A: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
        H + b"Content-Length: 2\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        H + b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}",
        H + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
        H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: identity\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + OK,
        H + b"X-A: b\r\n" * 600 + b"Content-Length: 2\r\n\r\n{}",
        H + b"X-A: " + b"b" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        H + b"X: y\r\n" * 100 + b"X-A: " + b"b" * 2_000_000,
        b"HTTP/1.1 200 " + b"O" * 2_000_000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 50_000,
        b"{}",
    ],
)
async def test_what_could_be_read_in_two_ways_or_has_no_measure_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        await body_of(says(answer))
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    assert "backend npu answered something that is not HTTP: " in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"2\nab\n0\n\n",
        b"2 \r\nab\r\n0\r\n\r\n",
        b"-2\r\nab\r\n0\r\n\r\n",
        b"fffffffffffffffffff\r\nab",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"2;" + b"x" * 2_000_000 + b"\r\nab\r\n0\r\n\r\n",
        b"0\r\nX: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 300_000 + b"\r\n",
    ],
)
async def test_a_chunk_that_is_none_breaks_the_answer_off(body: bytes) -> None:
    with pytest.raises(ProxyError, match="broke off its answer before it was complete"):
        await body_of(says(H + b"Transfer-Encoding: chunked\r\n\r\n" + body))


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"{}"),
        (H + b"Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n", b"abc"),
        (H + b"\r\nuntil it closes", b"until it closes"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (H + b"X-A: " + b"b" * 60_000 + b"\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
async def test_every_way_to_end_an_answer_is_understood(answer: bytes, body: bytes) -> None:
    assert await body_of(says(answer)) == body


async def test_an_answer_to_head_has_no_body_whatever_length_it_tells() -> None:
    assert await body_of(says(H + b"Content-Length: 500\r\n\r\n"), "HEAD") == b""


@pytest.mark.parametrize(
    "answer",
    [
        OK + OK,
        OK + b"junk",
        H + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_connection_whose_answer_had_no_clean_end_is_not_used_again(answer: bytes) -> None:
    async def script(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(answer)
        await reader.read()

    async with playing(script) as raw, a_client() as client:
        for _ in range(2):
            async with client.ask(call(raw.url)) as reply:
                assert await reply.body() == b"{}"
        assert raw.connections == 2


async def test_words_that_nobody_asked_for_end_a_kept_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE_S", 600)
    says, is_closed = asyncio.Event(), asyncio.Event()

    async def script(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(OK)
        await says.wait()
        writer.write(OK)
        await reader.read()
        is_closed.set()

    async with playing(script) as raw, a_client() as client:
        async with client.ask(call(raw.url)) as reply:
            await reply.body()
        says.set()
        async with asyncio.timeout(20):
            await is_closed.wait()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_both_loopbacks_are_found_by_name_and_by_address(host: str) -> None:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, "::1" if host == "[::1]" else "127.0.0.1", 0, family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = server.sockets[0].getsockname()[1]
    async with server, a_client() as client, client.ask(call(f"http://{host}:{port}/", "GET", None)) as reply:
        assert await reply.body() == b"{}"
    assert f"Host: {host}:{port}\r\n".encode() in seen[0]


async def test_a_name_without_an_address_cannot_be_reached() -> None:
    async with a_client() as client:
        with pytest.raises(ProxyError, match="cannot be reached: "):
            async with client.ask(call("http://nowhere.invalid/")):
                pass


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://h/a b", {}),
        ("http://h/a\r\nX: y", {}),
        ("http://h/", {"X": "a\r\nY: b"}),
        ("http://h/", {"X": "a\nY: b"}),
        ("http://h/", {"X\0": "a"}),
    ],
)
def test_nothing_can_be_smuggled_into_the_head_of_a_request(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="head of a request"):
        request_head("POST", URL(url, encoded=True), headers, 2, keeps=True)


async def arriving() -> AsyncGenerator[bytes, None]:
    yield b""


def test_only_plain_calls_are_taken() -> None:
    plain = call("http://h/")
    assert takes(plain)
    others = (
        call("https://h/"),
        call("http://user:word@h/"),
        replace(plain, way=Way(URL("http://proxy/"))),
        replace(plain, body=arriving()),
    )
    assert not any(map(takes, others))


async def test_a_server_that_says_more_than_is_read_has_to_wait() -> None:
    sent = 0

    async def endless(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await raw.request(reader)
        writer.write(H + b"\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with playing(endless) as raw, a_client() as client, client.ask(call(raw.url)) as reply:
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 64 * 2**20
        got = 0
        while got <= before:
            got += len(await reply.read())


class Socket(asyncio.Transport):
    """Notes what is written, and is full after each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.protocol: Connection | None = None
        self.is_aborted = self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        if self.protocol is not None:
            self.protocol.pause_writing()

    def abort(self) -> None:
        self.is_aborted = True


@asynccontextmanager
async def sending(
    body: bytes,
) -> AsyncGenerator[tuple[Socket, Connection, "asyncio.Task[None]", list[Connection]], None]:
    freed: list[Connection] = []
    connection, transport = Connection(freed.append), Socket()
    connection.connection_made(transport)
    transport.protocol = connection
    task = asyncio.create_task(connection.ask(b"HEAD", body, is_head=False, keeps=True))
    await asyncio.sleep(0)
    yield transport, connection, task, freed


async def test_a_large_body_goes_out_piece_by_piece_as_the_socket_takes_it() -> None:
    body = bytes(range(256)) * 8000
    async with sending(body) as (transport, connection, task, freed):
        for pieces in range(1, 10):
            assert len(transport.written) == pieces
            connection.resume_writing()
        assert b"".join(transport.written) == b"HEAD" + body
        assert max(map(len, transport.written)) <= PIECE_BYTES
        connection.data_received(OK)
        await task
        assert await connection.read() == b"{}"
        connection.close()
        assert freed == [connection]
        assert not transport.is_aborted


@pytest.mark.parametrize(("status", "goes_on"), [(b"200 OK", True), (b"503 Busy", False)])
async def test_an_answer_before_the_end_of_the_body_is_taken_and_a_refusal_ends_the_sending(
    status: bytes, goes_on: bool
) -> None:
    async with sending(b"x" * 2_000_000) as (transport, connection, task, freed):
        connection.data_received(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % status)
        await task
        assert await connection.read() == b"{}"
        before = len(transport.written)
        connection.resume_writing()
        assert (len(transport.written) > before) is goes_on
        connection.close()
        assert not freed, "the server may still wait for the rest"
        assert transport.is_aborted


async def test_an_answer_that_was_left_while_its_server_had_to_wait_frees_no_connection() -> None:
    async with sending(b"") as (transport, connection, task, freed):
        connection.resume_writing()
        connection.data_received(H + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)
        await task
        assert transport.is_paused
        connection.close()
        assert not freed
        assert transport.is_aborted


async def test_an_answer_is_over_once_all_of_it_has_come_and_was_read() -> None:
    async with sending(b"") as (_, connection, task, _):
        connection.data_received(H + b"Content-Length: 2\r\n\r\n{")
        await task
        assert await connection.read() == b"{"
        assert not connection.is_over
        connection.data_received(b"}")
        assert not connection.is_over
        assert await connection.read() == b"}"
        assert connection.is_over


async def test_pouring_takes_what_was_held_and_has_its_server_go_on() -> None:
    got: list[bytes] = []
    async with sending(b"") as (transport, connection, task, _):
        connection.data_received(H + b"Content-Length: 300001\r\n\r\n" + b"x" * 300_000)
        await task
        assert transport.is_paused
        pouring = asyncio.create_task(connection.pour(into(got)))
        await asyncio.sleep(0)
        assert (len(got[0]), transport.is_paused) == (300_000, False)
        connection.data_received(b"y")
        assert await pouring
        assert got[1:] == [b"y"]


async def test_leaving_while_a_head_is_awaited_closes_the_socket_at_once() -> None:
    is_asked, is_left = asyncio.Event(), asyncio.Event()

    async def mute(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        is_asked.set()
        await reader.read()
        is_left.set()

    async with playing(mute) as raw:
        pool = Pool(Watch())
        task = asyncio.create_task(pool.ask(call(raw.url), 2.0))
        await is_asked.wait()
        task.cancel()
        async with asyncio.timeout(20):
            await is_left.wait()
        await pool.close()


async def test_twenty_at_once_and_then_again_need_twenty_connections() -> None:
    async def one() -> None:
        async with client.ask(call(raw.url)) as reply:
            assert await reply.body() == b"{}"

    async with playing(keeping) as raw, a_client() as client:
        for _ in range(3):
            await asyncio.gather(*(one() for _ in range(20)))
        assert raw.connections == 20


def in_chunks(*pieces: bytes) -> Script:
    """A server that sends these pieces one after the other, each in a packet of its own, and keeps the connection."""

    async def script(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await raw.request(reader):
            writer.write(H + b"Transfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write(b"0\r\n\r\n")

    return script


def into(got: list[bytes]) -> Take:
    def take(piece: bytes) -> bool:
        got.append(piece)
        return True

    return take


async def test_what_is_poured_comes_piece_by_piece_up_to_the_end_and_the_connection_is_kept() -> None:
    got: list[bytes] = []
    async with playing(in_chunks(b"a", b"b", b"c")) as raw, a_client() as client:
        for _ in range(2):
            async with client.ask(call(raw.url)) as reply:
                got.append(await reply.read())
                assert await reply.pour(into(got))
        assert raw.connections == 1
    assert b"".join(got) == b"abcabc"


async def test_who_takes_no_more_gets_the_rest_when_it_asks_again_and_its_server_waits_meanwhile() -> None:
    sent = 0

    async def endless(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await raw.request(reader)
        writer.write(H + b"\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with playing(endless) as raw, a_client() as client, client.ask(call(raw.url)) as reply:
        got = len(await reply.read())

        def take(piece: bytes) -> bool:
            nonlocal got
            got += len(piece)
            return False

        assert not await reply.pour(take)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 64 * 2**20
        while got <= before:
            assert not await reply.pour(take)


async def test_what_breaks_while_it_is_poured_is_told_after_all_that_had_come() -> None:
    answer = H + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\nno chunk"
    got: list[bytes] = []
    async with playing(says(answer)) as raw, a_client() as client, client.ask(call(raw.url)) as reply:
        got.append(await reply.read())
        assert await reply.pour(into(got))
        assert b"".join(got) == b"ab"
        assert reply.broken is not None
        assert "broke off its answer" in reply.broken.message


async def test_a_taker_that_fails_ends_the_pouring_with_its_own_error() -> None:
    def take(piece: bytes) -> bool:
        raise ZeroDivisionError

    script = in_chunks(b"a", b"b", b"c")
    async with playing(script) as raw, a_client() as client, client.ask(call(raw.url)) as reply:
        await reply.read()
        with pytest.raises(ZeroDivisionError):
            await reply.pour(take)


async def test_silence_while_an_answer_is_poured_ends_it() -> None:
    async def silent(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(H + b"\r\na")
        await reader.read()

    async with playing(silent) as raw, a_client(Timeouts(idle_s=0.05)) as client, client.ask(call(raw.url)) as reply:
        await reply.read()
        assert await reply.pour(lambda _: True)
        assert reply.broken is not None
        assert reply.broken.kind is ErrorKind.UPSTREAM_TIMEOUT
