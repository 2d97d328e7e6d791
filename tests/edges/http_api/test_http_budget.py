"""The budget of a day over HTTP: who is refused, until when, and where it is told."""

from typing import Any

import pytest

from ollama_proxyd.core.budget import BudgetSettings, WhenReached
from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, FakeClock

BACKGROUND = {"X-Priority": "best-effort"}
NOON_S = 12 * 3600
MESSAGES = [{"role": "user", "content": "Hi"}]
CHATS = ("/v1/chat/completions", "/api/chat")


async def spent(serve: Serve, when: WhenReached, limit_wh: float | None = 1e-6) -> Site:
    clock = FakeClock()
    steps = (Accepted(), Delta(text="Hello"), lambda: clock.advance(2.0), Finished(usage=Usage(3, 5)))
    site = await serve(FakeBackend("npu", *steps), clock=clock, budget=BudgetSettings(limit_wh, when))
    await site.chat()
    return site


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_in_the_background_is_told_to_come_back_at_midnight(
    serve: Serve, path: str, stream: bool
) -> None:
    site = await spent(serve, WhenReached.REFUSE_BACKGROUND)
    body = {"model": "tiny", "messages": MESSAGES, "stream": stream}
    refused = await site.post(path, body, headers=BACKGROUND)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) == pytest.approx(NOON_S, abs=5)
    assert "until midnight" in refused.body.decode()
    assert (await site.post(path, body)).status == 200


async def test_it_is_told_with_the_status_the_energy_and_the_metrics(serve: Serve) -> None:
    site = await spent(serve, WhenReached.WARN)
    told: Any = (await site.get("/status")).json["budget"]
    assert (told["limit_watt_hours"], told["when_reached"]) == (1e-6, "warn")
    assert told["spent_watt_hours"] == shortened(6 / 3600)
    assert (told["reason_code"], told["incomplete"]) == ("budget_spent", None)
    assert (await site.get("/energy")).json["budget"] == told
    metrics = (await site.get("/metrics")).body.decode()
    assert "ollama_proxy_budget_limit_wh 1e-06" in metrics
    assert f"ollama_proxy_budget_spent_wh {6 / 3600}" in metrics


async def test_without_a_budget_no_limit_is_told(serve: Serve) -> None:
    site = await spent(serve, WhenReached.WARN, None)
    told: Any = (await site.get("/status")).json["budget"]
    assert (told["limit_watt_hours"], told["reason"]) == (None, None)
    assert "budget_limit_wh" not in (await site.get("/metrics")).body.decode()
