"""Bodies count: all together are bounded, and requests are counted before their bodies are read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.settings import GatewaySettings
from tests.edges.http_api.conftest import CHAT, Answer, Serve, Site
from tests.fakes import FakeBackend, settle

MOST_BYTES = 100_000
LISTEN = ServerSettings(port=0, drain_s=0.2, max_bodies_bytes=MOST_BYTES)
LARGE: dict[str, Any] = {**CHAT, "padding": "x" * 60_000}
DIALECTS = pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])


def sentence(answer: Answer) -> str:
    error = answer.json["error"]
    return str(error["message"] if isinstance(error, dict) else error)


async def held_bytes(site: Site) -> float:
    lines = (await site.get("/metrics")).body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("ollama_proxy_body_bytes "))


async def until_held(site: Site, size_bytes: int) -> None:
    while await held_bytes(site) != size_bytes:
        pass


async def half_sent(site: Site, announced_bytes: int, path: str = "/api/chat") -> asyncio.StreamWriter:
    """A connection with the beginning of a body."""
    _, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced_bytes}\r\n\r\n{{"
    writer.write(head.encode())
    await writer.drain()
    return writer


async def left(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@DIALECTS
async def test_a_body_that_does_not_fit_beside_the_others_is_told_to_come_later(serve: Serve, path: str) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend, listen=LISTEN)
    other = await half_sent(site, 60_000)
    await until_held(site, 60_000)
    answer = await site.post(path, LARGE)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert "server.max_bodies_bytes" in sentence(answer)
    assert path.startswith("/api") or answer.json["error"]["code"] == "bodies_full"
    await left(other)
    await until_held(site, 0)
    assert (await site.post(path, LARGE)).status == 200


async def test_a_body_without_a_length_is_refused_while_it_is_read(serve: Serve) -> None:
    site = await serve(listen=LISTEN)
    other = await half_sent(site, 60_000)
    await until_held(site, 60_000)
    body = json.dumps(LARGE).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 9_000):
            yield body[start : start + 9_000]

    assert (await site.ask("POST", "/v1/chat/completions", data=pieces())).status == 503
    await until_held(site, 60_000)
    await left(other)


async def test_a_share_is_held_until_the_answer_ends(serve: Serve) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("npu", gate)
    site = await serve(backend, listen=LISTEN)
    first = asyncio.create_task(site.chat(padding=LARGE["padding"]))
    await backend.opened.wait()
    assert (await site.chat(padding=LARGE["padding"])).status == 503
    gate.set()
    await first
    assert await held_bytes(site) == 0


async def test_a_share_comes_back_from_a_client_that_leaves_its_answer(serve: Serve) -> None:
    backend = FakeBackend("npu", asyncio.Event())
    site = await serve(backend, listen=LISTEN)
    first = asyncio.create_task(site.chat(padding=LARGE["padding"]))
    await backend.opened.wait()
    assert await held_bytes(site) > 60_000
    first.cancel()
    with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
        await first
    await until_held(site, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/chat", b"{"), ("/v1/chat/completions", b"{}"), ("/api/show", b"[]"), ("/efficiency", b"1")],
)
async def test_a_share_comes_back_from_a_request_that_is_refused(serve: Serve, path: str, body: bytes) -> None:
    site = await serve(listen=LISTEN)
    assert (await site.ask("POST", path, data=body)).status == 400
    assert (await site.ask("POST", f"{site.server.url}/{path}", data=body)).status == 400
    assert await held_bytes(site) == 0


async def test_a_body_that_never_fits_is_not_told_to_come_later(serve: Serve) -> None:
    site = await serve(listen=LISTEN)
    answer = await site.chat(padding="x" * MOST_BYTES)
    assert answer.status == 413
    assert "server.max_bodies_bytes" in sentence(answer)


async def test_a_body_that_stops_coming_ends_the_connection(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, drain_s=0.2, body_timeout_s=0.01))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    await left(writer)


@DIALECTS
async def test_half_sent_bodies_count_as_requests_in_flight(serve: Serve, path: str) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend, settings=GatewaySettings(max_in_flight=3))
    others = [await half_sent(site, 500, path) for _ in range(3)]
    await until_held(site, 1500)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 429 ")
    for each in (writer, *others):
        await left(each)
    await until_held(site, 0)
    await settle()
    assert (await site.post(path, CHAT)).status == 200
