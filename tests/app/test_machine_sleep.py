"""The whole daemon when the machine sleeps, with a logind on a bus of the test's own."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.daemon import Daemon
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.load import Overrides
from tests.desktop.private_bus import PrivateBus
from tests.edges.host.fake_logind import FakeLogind

CONFIG = {"sensors": {"enabled": False}, "dbus": {"enabled": False}}
CHAT: dict[str, Any] = {
    "model": "demo-large",
    "messages": [{"role": "user", "content": "tell me a long story"}],
    "options": {"num_predict": 4000},
}


@pytest.fixture
def kept_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ollama_proxyd")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
async def logind(private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeLogind]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", private_bus.address)
    fake = FakeLogind()
    await fake.start(private_bus.address)
    yield fake
    await fake.close()


@pytest.fixture
async def daemon(tmp_path: Path, logind: FakeLogind, kept_logging: None) -> AsyncIterator[Daemon]:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG))
    options = LaunchOptions({"HOME": str(tmp_path)}, file, Overrides(http_port=0), Demo.ALWAYS)
    daemon = Daemon(options, options.load())
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(daemon.url) as client:
        yield client


async def wake_up(daemon: Daemon, logind: FakeLogind) -> None:
    logind.tell(sleeps=False)
    await logind.lock(1)
    async for is_asleep in daemon.is_asleep.changes():
        if not is_asleep:
            return


async def test_a_long_stream_goes_on_after_the_sleep_and_new_requests_wait_for_the_morning(
    daemon: Daemon, logind: FakeLogind, client: aiohttp.ClientSession
) -> None:
    lock = await logind.lock(0)
    async with client.post("/api/chat", json=CHAT) as story:
        await story.content.readline()
        logind.tell(sleeps=True)
        await lock.released()
        for path, message in (("/api/chat", "error"), ("/v1/chat/completions", "error")):
            body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
            async with client.post(path, json=body) as refused:
                assert refused.status == 503
                assert int(refused.headers["Retry-After"]) > 0
                assert "goes to sleep" in json.dumps((await refused.json())[message])
        async with client.post("/api/show", json={"model": "demo"}) as refused:
            assert (refused.status, "goes to sleep" in (await refused.json())["error"]) == (503, True)
        async with client.get("/readyz") as waiting:
            assert (waiting.status, await waiting.text()) == (503, "not ready\n")
        assert daemon.services.admission.waiting.value == 1
        await wake_up(daemon, logind)
        async with asyncio.timeout(60):
            while daemon.services.admission.waiting.value:
                await story.content.readline()
        assert "error" not in json.loads(await story.content.readline())
    async with client.get("/readyz") as ready:
        assert ready.status == 200


async def test_a_request_that_has_no_byte_yet_is_sent_anew_after_the_sleep(
    daemon: Daemon, logind: FakeLogind, client: aiohttp.ClientSession
) -> None:
    lock = await logind.lock(0)
    asked = asyncio.create_task(client.post("/api/chat", json={**CHAT, "stream": False}))
    fleet = daemon.services.fleet
    async with asyncio.timeout(20):
        async for views in fleet.views.changes():
            if any(view.in_flight for view in views):
                break
    logind.tell(sleeps=True)
    await lock.released()
    assert (daemon.services.admission.waiting.value, asked.done()) == (1, False)
    assert all(view.health.value == "up" for view in fleet.views.value)
    await wake_up(daemon, logind)
    async with asyncio.timeout(20):
        await daemon.services.admission.waiting.until(lambda count: not count)
    asked.cancel()
