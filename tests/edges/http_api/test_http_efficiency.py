"""Holding a mode and changing Auto's settings over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from ollama_proxyd.core.holds import MOST_OF_ONE
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.http_api import server
from tests.edges.http_api.conftest import Serve, Site

WITHIN_S = 20


@asynccontextmanager
async def holding(site: Site, **body: Any) -> AsyncIterator[Any]:
    """A hold that is in force, for as long as its answer stays open."""
    async with site.client.post("/efficiency/hold", json=body) as reply:
        assert reply.status == 200
        yield reply, json.loads(await reply.content.readline())


async def effective(site: Site, wanted: Mode) -> None:
    async with asyncio.timeout(WITHIN_S):
        async for setting in site.services.governor.setting.changes():
            if setting.effective is wanted:
                return


async def test_a_mode_is_held_as_long_as_the_answer_stays_open(serve: Serve) -> None:
    site = await serve()
    async with holding(site, mode="quiet", reason="a talk", application_id="slides") as (reply, said):
        (hold,) = site.services.governor.holds.value
        assert (said["cookie"], hold.mode, hold.reason, hold.application_id) == (
            hold.cookie,
            Mode.QUIET,
            "a talk",
            "slides",
        )
        assert (await site.get("/efficiency")).json["effective_mode"] == "Quiet"
        reply.close()
    await effective(site, Mode.BALANCED)
    assert site.services.governor.holds.value == ()


async def test_a_hold_that_another_choice_ended_ends_its_answer(serve: Serve) -> None:
    site = await serve()
    async with holding(site, mode="Quiet") as (reply, _):
        assert (await site.post("/efficiency", {"mode": "Performance"})).status == 200
        async with asyncio.timeout(WITHIN_S):
            assert await reply.content.read() == b""


async def test_two_holds_end_one_by_one_and_the_thriftiest_counts(serve: Serve) -> None:
    site = await serve()
    async with holding(site, mode="Quiet") as (first, _), holding(site, mode="UltraEfficiency") as (second, _):
        await effective(site, Mode.ULTRA_EFFICIENCY)
        second.close()
        await effective(site, Mode.QUIET)
        first.close()
        await effective(site, Mode.BALANCED)


async def test_a_server_that_stops_ends_holds_and_does_not_wait_for_them(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LAST_WORDS_S", 600.0)
    site = await serve()
    async with holding(site, mode="Quiet") as (reply, _), asyncio.timeout(WITHIN_S):
        await site.server.stop()
        assert site.services.governor.holds.value == ()
        assert await reply.content.read() == b""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"mode": "Quite"}, "did you mean Quiet?"),
        ({"mode": "Quiet", "reason": "x" * 201}, "reason: Expected a string of length <= 200"),
        ({"mode": "Quiet", "raeson": "x"}, "did you mean"),
    ],
)
async def test_a_hold_that_cannot_be_is_refused_with_its_cause(serve: Serve, body: Any, says: str) -> None:
    site = await serve()
    answer = await site.post("/efficiency/hold", body)
    assert answer.status == 400
    assert says in answer.json["error"]
    assert site.services.governor.holds.value == ()


@pytest.mark.parametrize("path", ["/efficiency/hold", "/settings"])
async def test_pages_of_other_sites_change_nothing(serve: Serve, path: str) -> None:
    site = await serve()
    answer = await site.post(path, {"mode": "Quiet"}, headers={"Origin": "https://evil.example"})
    assert answer.status == 403


async def test_settings_are_changed_and_go_back_to_the_configuration(serve: Serve) -> None:
    site = await serve()
    before = (await site.get("/settings")).json
    assert before["changed"] == []
    after = (await site.post("/settings", {"low_battery_percent": 45, "quiet_hours_start": "21:30"})).json
    assert (after["settings"]["low_battery_percent"], after["settings"]["quiet_hours_start"]) == (45, "21:30")
    assert sorted(after["changed"]) == ["low_battery_percent", "quiet_hours_start"]
    assert (await site.post("/settings", dict.fromkeys(after["changed"]))).json == before


async def test_changes_of_settings_are_made_all_or_none(serve: Serve) -> None:
    site = await serve()
    answer = await site.post("/settings", {"low_battery_percent": 45, "quiet_hours_start": 22})
    assert answer.status == 400
    assert answer.json["error"].startswith("quiet_hours_start must be")
    assert (await site.get("/settings")).json["changed"] == []


async def test_one_program_takes_a_share_of_the_holds_only(serve: Serve) -> None:
    site = await serve()
    async with AsyncExitStack() as held:
        for _ in range(MOST_OF_ONE):
            await held.enter_async_context(holding(site, mode="Quiet"))
        refused = await site.post("/efficiency/hold", {"mode": "Quiet"})
        assert refused.status == 429
        assert "the most for one program" in refused.json["error"]
        assert site.services.governor.hold(Mode.QUIET, "", "", "http:pid 1/x")


async def test_a_hold_over_http_ends_when_its_time_is_over(serve: Serve) -> None:
    site = await serve()
    async with holding(site, mode="Quiet", seconds=60) as (reply, said), asyncio.timeout(WITHIN_S):
        (hold,) = site.services.governor.holds.value
        assert said["ends_unix_seconds"] == hold.ends_unix_s
        site.services.governor.release_all(hold.owner)
        assert await reply.content.read() == b""
    assert (await site.post("/efficiency/hold", {"mode": "Quiet", "seconds": 1e6})).status == 400
