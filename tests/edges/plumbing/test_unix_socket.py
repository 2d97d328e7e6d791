"""Servers behind Unix sockets, asked by both clients."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from ollama_proxyd.core.errors import UNREACHABLE, ProxyError
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.upstream import pool
from ollama_proxyd.edges.plumbing.way import Way, root_of, way_to
from tests.upstreams.fake_engines import a_client


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=b"at " + request.host.encode() + b": " + await request.read())


@asynccontextmanager
async def serving(path: Path) -> AsyncGenerator[None]:
    app = web.Application()
    app.router.add_post("/", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def pieces() -> AsyncIterator[bytes]:
    yield b"he"
    yield b"llo"


def call(path: Path, *, is_piecewise: bool = False) -> Call:
    body = pieces() if is_piecewise else b"hello"
    return Call("POST", URL("http://localhost/"), f"backend npu at unix:{path}", body=body, way=Way(socket=str(path)))


@pytest.mark.parametrize("is_piecewise", [False, True])
async def test_it_is_asked_for_this_machine_whatever_the_body_is(tmp_path: Path, is_piecewise: bool) -> None:
    for name in ("a", "b"):
        async with serving(tmp_path / name), a_client() as client:
            for _ in range(2):
                async with client.ask(call(tmp_path / name, is_piecewise=is_piecewise)) as reply:
                    assert await reply.body() == b"at localhost: hello"


@pytest.mark.parametrize("is_general", [False, True])
async def test_a_server_that_is_not_there_is_told_as_one_at_a_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_general: bool
) -> None:
    if is_general:
        monkeypatch.setattr(pool, "takes", lambda _call: False)
    async with a_client() as client:
        with pytest.raises(ProxyError, match="cannot be reached: No such file or directory") as caught:
            await client.send(call(tmp_path / "none"))
    assert caught.value.code == UNREACHABLE


async def test_connections_that_share_a_host_are_not_taken_for_another_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "a"), a_client() as client:
        async with client.ask(call(tmp_path / "a")) as reply:
            await reply.body()
        with pytest.raises(ProxyError, match="cannot be reached"):
            await client.send(call(tmp_path / "b"))


async def test_a_full_queue_of_connections_is_waited_for(tmp_path: Path) -> None:
    """The kernel refuses at once, where TCP would try again."""
    path = tmp_path / "full"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    begin = threading.Event()

    def serve(listening: socket.socket) -> None:
        begin.wait()
        for _ in range(20):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        server = threading.Thread(target=serve, args=(listening,), daemon=True)
        server.start()

        async def ask() -> bytes:
            async with client.ask(call(path)) as reply:
                return await reply.body()

        async with a_client() as client:
            asked = [asyncio.create_task(ask()) for _ in range(20)]
            await asyncio.sleep(0.05)
            begin.set()
            assert await asyncio.gather(*asked) == [b"{}"] * 20
        await asyncio.to_thread(server.join)


def test_the_way_to_a_socket_is_no_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    address = URL("unix:/run/user/1000/llama.sock")
    assert way_to(address) == Way(socket="/run/user/1000/llama.sock")
    assert str(root_of(address)) == "http://localhost"
