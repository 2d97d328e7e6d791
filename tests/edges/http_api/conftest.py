"""A server on a free port in front of fake backends, and a client for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.bundle import Services
from tests.fakes import FakeBackend, services_of

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: Any
    body: bytes
    json: Any = field(default=None)


@dataclass
class Site:
    """A running server, and what is behind it."""

    server: HttpServer
    services: Services
    client: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.client.request(method, path, **options) as reply:
            body = await reply.read()
            is_json = body and "json" in reply.content_type and "ndjson" not in reply.content_type
            return Answer(reply.status, reply.headers, body, await reply.json() if is_json else None)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.ask("POST", path, json=body, **options)

    async def chat(self, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
        return await self.post("/v1/chat/completions", {**CHAT, **fields}, headers=headers)


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server for some backends; all are stopped after the test."""
    sites: list[Site] = []

    async def start(*backends: FakeBackend, listen: ServerSettings | None = None, **around: Any) -> Site:
        services = await services_of(*(backends or (FakeBackend("npu"),)), **around)
        server = HttpServer(services, listen or ServerSettings(port=0, drain_s=0.2))
        await server.start()
        client = aiohttp.ClientSession(server.url, auto_decompress=False)
        sites.append(Site(server, services, client))
        return sites[-1]

    yield start
    for site in sites:
        await site.client.close()
        await site.server.stop()
