"""What clients are told when the daemon stops before their answers have ended."""

import asyncio
from typing import Any

from ollama_proxyd.core.errors import ErrorKind
from tests.app.conftest import Start

CALM: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}}
STORY: dict[str, Any] = {"model": "demo-large", "prompt": "tell me a long story", "options": {"num_predict": 4000}}


async def test_an_answer_that_the_stop_cuts_off_says_so_and_blames_no_backend(start: Start) -> None:
    running = await start(CALM)
    url, fleet, ended = f"{running.daemon.url}/api/generate", running.services.fleet, list[Any]()
    fleet.attempts.listen(lambda attempt: ended.append(attempt.error))
    waiting = asyncio.create_task(running.client.post(url, json={**STORY, "stream": False}))
    async with running.client.post(url, json=STORY) as streaming:
        await streaming.content.readline()
        await running.until(fleet.views, lambda views: sum(view.in_flight for view in views) == 2)
        await running.daemon._foundation.drain(0)
        assert b"cut off: the proxy stops" in (await streaming.read()).splitlines()[-1]
    async with await waiting as whole:
        assert whole.status == 503
        assert "cut off: the proxy stops" in (await whole.json())["error"]
    assert ended == [ErrorKind.UNAVAILABLE, ErrorKind.UNAVAILABLE]
