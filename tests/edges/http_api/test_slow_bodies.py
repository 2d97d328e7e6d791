"""A body needs an end and a speed: on virtual time, without a connection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.server import build_app
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.fakes import FakeBackend, services_of

Send = Callable[[Iterable[tuple[float, int]]], Awaitable[bytes]]


@pytest.fixture
async def app() -> web.Application:
    return build_app(await services_of(FakeBackend("npu")), ServerSettings(body_timeout_s=30.0))


@pytest.fixture
def send(app: web.Application) -> Send:
    """Send parts of so many bytes, each after so many seconds, and read them as a body."""

    async def read(parts: Iterable[tuple[float, int]]) -> bytes:
        loop = asyncio.get_running_loop()
        content = StreamReader(Mock(connected=True), 2**16, loop=loop)

        async def feed() -> None:
            for after_s, size_bytes in parts:
                await asyncio.sleep(after_s)
                content.feed_data(b"x" * size_bytes)
            content.feed_eof()

        feeding = asyncio.create_task(feed())
        try:
            return await read_body(make_mocked_request("POST", "/", app=app, payload=content))
        finally:
            feeding.cancel()

    return read


async def now_s() -> float:
    return asyncio.get_running_loop().time()


async def test_a_trickled_body_ends_when_it_was_slow_for_ten_seconds(send: Send) -> None:
    with pytest.raises(ProxyError, match="at least 1024 bytes a second") as caught:
        await send([(3.0, 1)] * 1000)
    assert caught.value.code == "body_timeout"
    assert await now_s() == pytest.approx(10.0)


async def test_a_body_that_stops_is_given_up_when_its_average_is_too_low(send: Send) -> None:
    with pytest.raises(ProxyError, match="20480 bytes"):
        await send([(0.0, 20 * 1024), (1000.0, 1)])
    assert await now_s() == pytest.approx(20.0)


async def test_a_body_that_is_fast_enough_still_has_an_end(send: Send) -> None:
    with pytest.raises(ProxyError, match=r"server\.body_timeout_s"):
        await send([(1.0, 1500)] * 43)
    assert await now_s() == pytest.approx(30.0)


async def test_a_body_that_keeps_the_least_speed_is_read(send: Send) -> None:
    assert len(await send([(1.0, 1200)] * 25)) == 25 * 1200


async def test_a_slow_start_is_forgiven(send: Send) -> None:
    assert len(await send([(9.0, 1), (0.5, 1)])) == 2


async def test_what_has_come_is_counted(send: Send, app: web.Application) -> None:
    await send([(0.0, 500), (1.0, 700)])
    assert app[BODIES].held_bytes == 1200
