"""Sockets that somebody else opened, and socket files."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from ollama_proxyd.app.watchdog import is_served
from ollama_proxyd.edges.http_api import listening
from ollama_proxyd.edges.http_api.listening import bound
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing import access, peers
from tests.fakes import FakeBackend, services_of


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    server = HttpServer(await services_of(FakeBackend("npu")), ServerSettings(port=0, token="secret"))
    yield server
    await server.stop()


@pytest.fixture
def held() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        held.setblocking(False)
        yield held


async def talk(path: str, host: str, more: str = "", token: str = "Authorization: Bearer secret\r\n") -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    head = f"GET /version HTTP/1.1\r\n{host}{token}Connection: close\r\n{more}\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n", 1)[0]


async def test_over_a_socket_file_any_host_will_do_but_no_page_of_another_site(
    server: HttpServer, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "s"))
        file.listen()
        await server.start([file])
        for host in ("Host: localhost\r\n", "Host: docker\r\n", "Host: \r\n"):
            assert await talk(str(tmp_path / "s"), host) == b"HTTP/1.1 200 OK"
        page = "Origin: https://evil.example\r\n"
        assert await talk(str(tmp_path / "s"), "Host: localhost\r\n", page) == b"HTTP/1.1 403 Forbidden"
        assert server.url == f"unix:{tmp_path / 's'}"


async def test_over_a_socket_file_this_user_needs_no_token(server: HttpServer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "s"))
        file.listen()
        await server.start([file])
        assert await talk(str(tmp_path / "s"), "Host: localhost\r\n", token="") == b"HTTP/1.1 200 OK"


async def test_over_a_socket_file_another_user_is_refused(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "s"))
        file.listen()
        await server.start([file])
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        monkeypatch.setattr(peers, "served_uids", lambda: frozenset({os.getuid() + 1}))
        monkeypatch.setattr(access, "served_uids", peers.served_uids)
        assert await talk(str(tmp_path / "s"), "Host: localhost\r\n") == b"HTTP/1.1 403 Forbidden"


async def test_what_comes_while_nobody_accepts_is_served_afterwards(server: HttpServer, held: socket.socket) -> None:
    await server.start([held])
    await server.pause()
    reader, writer = await asyncio.open_connection(*held.getsockname())
    writer.write(
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n"
    )
    await asyncio.sleep(0.05)
    assert (server.connections, server.requests) == (0, 0)
    await server.go_on()
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    assert server.requests == 1
    writer.close()


def test_all_connections_that_wait_are_taken_in_few_turns_of_the_loop() -> None:
    """One was taken in each turn, and beside 200 busy clients a turn lasts a quarter of a second."""
    turns, newcomers = 8, 64

    async def taken() -> int:
        server = HttpServer(await services_of(FakeBackend("npu")), ServerSettings(port=0))
        await server.start()
        with ExitStack() as open_ones:
            for _ in range(newcomers):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(turns):
                await asyncio.sleep(0)
            runner = server._runner
            assert runner.server is not None
            found = len(runner.server.connections)
        await server.stop()
        return found

    assert uvloop.run(taken()) == newcomers


def test_a_connection_that_was_taken_counts_when_no_more_are() -> None:
    """Who stops gives those that are open a moment to say what they want."""

    async def found() -> int:
        server = HttpServer(await services_of(FakeBackend("npu")), ServerSettings(port=0))
        await server.start()
        with socket.create_connection(("127.0.0.1", server.port)):
            (site, *_) = server._sites
            accepting = site._server
            assert isinstance(accepting, listening._Acceptor)
            while not accepting._under_way:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            await server.pause()
            count = server.connections
        await server.stop()
        return count

    assert uvloop.run(found()) == 1


async def test_a_server_that_serves_is_told_from_one_that_does_not(server: HttpServer, held: socket.socket) -> None:
    await server.start([held])
    assert await is_served(held.getsockname(), 2.0) is None
    await server.pause()
    assert await is_served(held.getsockname(), 0.1) == "no answer within 0.1 s"
    await server.go_on()


async def test_what_speaks_no_http_does_not_serve() -> None:
    async def mumble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        writer.close()

    other = await asyncio.start_server(mumble, "127.0.0.1", 0)
    async with other:
        assert await is_served(other.sockets[0].getsockname(), 2.0) is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_the_url_of_a_server_that_listens_everywhere_leads_to_it(host: str) -> None:
    server = HttpServer(await services_of(FakeBackend("npu")), ServerSettings(host=host, port=0, token="secret"))
    try:
        await server.start()
        address = urlsplit(server.url)
        assert await is_served((address.hostname, address.port), 2.0) is None
    finally:
        await server.stop()


def test_a_name_may_have_an_address_twice_or_one_of_a_family_that_the_kernel_lacks() -> None:
    here: tuple[int, int, int, str, tuple[object, ...]] = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    lacking = (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("2001:db8::1", 0))
    made = bound([here, lacking, here])
    assert [each.family for each in made] == [socket.AF_INET]
    for each in made:
        each.close()
    with pytest.raises(OSError, match="assign"):
        bound([lacking])
