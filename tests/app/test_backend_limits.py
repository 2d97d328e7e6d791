"""What a backend's own limits keep out: requests a minute, and health checks that count in a row."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.fleet import Health
from tests.app.conftest import Running, Start
from tests.app.two_engines import DOORS, Engine, ask, chat, config, two_engines


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


async def test_a_backend_gets_so_many_requests_a_minute_and_others_go_elsewhere(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    wanted = config(engines)
    wanted["backends"][0]["requests_per_minute"] = 3
    running = await start(wanted, Demo.NEVER)
    headers = {"X_Priority": "normal"}
    for n in range(10):
        assert (await ask(running, DOORS[n % 2], chat(stream=bool(n % 3)), **headers)).status == 200
    assert len(engines[0].bodies) <= 3
    refused = [await ask(running, "/v1/chat/completions", chat(), X_Target_Backend="gpu") for _ in range(4)][-1]
    assert refused.status == 503
    assert "it has had as many requests in this minute as its requests_per_minute allows" in refused.text
    assert 0 < int(refused.headers["Retry-After"]) <= 21
    told = (await ask(running, "/status")).json["backends"]
    assert [each["health"] for each in told] == ["up", "up"], "nothing has failed"
    until_unix_s, never = [each["resting_until_unix_seconds"] for each in told]
    assert 0 < until_unix_s - time.time() <= 22
    assert never is None


async def test_twenty_at_once_never_exceed_the_rate_of_a_backend(start: Start, engines: tuple[Engine, Engine]) -> None:
    wanted = config(engines, {"name": "all", "hosts": ["all.test"], "balancing": "round-robin"})
    wanted["backends"][0]["requests_per_minute"] = 5
    running = await start(wanted, Demo.NEVER)
    asked = [ask(running, DOORS[n % 2], chat(stream=bool(n % 3)), host="all.test") for n in range(20)]
    replies = await asyncio.gather(*asked)
    assert {each.status for each in replies} == {200}
    assert (len(engines[0].bodies), len(engines[1].bodies)) == (5, 15)


async def checked(running: Running) -> Health:
    await running.services.health.check_all()
    return running.services.fleet.view("gpu").health


async def test_a_backend_is_down_and_up_after_so_many_checks_in_a_row(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    wanted = config(engines, monitoring={"health_recheck_s": 3600, "health_interval_s": 3600, "health_timeout_s": 5})
    wanted["backends"][0] |= {"unhealthy_threshold": 3, "healthy_threshold": 2}
    running = await start(wanted, Demo.NEVER)
    assert await checked(running) is Health.UP, "the first check is enough for a backend of which nothing is known"
    engines[0].is_ill = True
    assert [await checked(running) for _ in range(2)] == [Health.UP] * 2
    engines[0].is_ill = False
    assert await checked(running) is Health.UP
    engines[0].is_ill = True
    assert [await checked(running) for _ in range(3)] == [Health.UP, Health.UP, Health.DOWN]
    engines[0].is_ill = False
    assert [await checked(running) for _ in range(2)] == [Health.DOWN, Health.UP]
