"""Models that a front end requires are pulled to the backends that lack them, through a daemon as it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core import model_sync
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.edges.host.network import SystemNetwork
from tests.app.conftest import Running, Start
from tests.app.two_engines import Engine, ask, chat, config, two_engines


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


def requiring(*models: str, **more: Any) -> dict[str, Any]:
    return {"name": "chat", "hosts": ["chat.test"], "required_models": list(models), **more}


async def pulls(running: Running) -> list[dict[str, Any]]:
    return list((await ask(running, "/status")).json["model_sync"])


async def until(running: Running, says: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while not says(told := await pulls(running)):  # noqa: ASYNC110 a client can only ask again
            await asyncio.sleep(0.01)
    return told


async def test_what_is_lacking_is_pulled_with_its_progress_and_then_served(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    engines[0].may_end.clear()
    running = await start(config(engines, requiring("small:1b", "new:3b")), Demo.NEVER)
    (told,) = await until(running, lambda all_: any(each["completed_bytes"] for each in all_))
    assert (told["backend"], told["model"], told["state"]) == ("gpu", "new:3b", "pulling")
    assert (told["completed_bytes"], told["total_bytes"]) == (40, 100)
    replies = await asyncio.gather(*[ask(running, "/api/chat", chat(), host="chat.test") for _ in range(20)])
    assert {each.status for each in replies} == {200}, "requests go on meanwhile"
    engines[0].may_end.set()
    await until(running, lambda all_: not all_)
    assert engines[0].pulls == ["new:3b"], "what is there is not pulled, and an engine of the other API is not asked"
    assert (await ask(running, "/api/chat", chat("new:3b"), host="chat.test")).status == 200
    async with asyncio.timeout(60):  # it counts once every backend was looked at again
        while "ollama_proxy_model_sync_pulled_total 1.0" not in await running.text("/metrics"):  # noqa: ASYNC110 as above
            await asyncio.sleep(0.01)


async def test_a_daemon_that_stops_breaks_pulls_off_without_a_word_and_begins_none(
    start: Start, engines: tuple[Engine, Engine], lines: list[str]
) -> None:
    engines[0].may_end.clear()
    running = await start(config(engines, requiring("a:1b", "b:1b"), model_sync={"max_parallel": 1}), Demo.NEVER)
    await until(running, lambda all_: any(each["completed_bytes"] for each in all_))
    await running.daemon.stop()
    assert len(engines[0].pulls) == 1
    assert not [line for line in lines if "does not pull" in line]


async def test_only_so_many_are_pulled_at_once(start: Start, engines: tuple[Engine, Engine]) -> None:
    engines[0].may_end.clear()
    frontend = requiring("a:1b", "b:1b", "c:1b")
    running = await start(config(engines, frontend, model_sync={"max_parallel": 2}), Demo.NEVER)
    told = await until(running, lambda all_: sum(each["completed_bytes"] > 0 for each in all_) == 2)
    assert [each["reason_code"] for each in told if each["state"] == "waiting"] == ["pull_waits_for_turn"]
    engines[0].may_end.set()
    await until(running, lambda all_: not all_)
    assert sorted(engines[0].pulls) == ["a:1b", "b:1b", "c:1b"]


async def test_a_failed_pull_is_told_in_the_engines_words_and_tried_again(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_sync, "FIRST_PAUSE_S", 0.3)
    engines[0].pull_ends = [{"error": "pull model manifest: file does not exist"}, {"status": "verifying"}]
    running = await start(config(engines, requiring("new:3b")), Demo.NEVER)
    (told,) = await until(running, lambda all_: any(each["failures"] for each in all_))
    assert (told["state"], told["reason"]) == ("failed", "pull model manifest: file does not exist")
    assert 0 < told["retry_seconds"] <= 0.3
    await until(running, lambda all_: not all_)
    assert engines[0].pulls == ["new:3b"] * 3, "one that breaks off before its end has failed as well"


async def test_nothing_is_pulled_on_battery_unless_asked(start: Start, engines: tuple[Engine, Engine]) -> None:
    engines[0].may_end.clear()
    wanted = config(engines, requiring("new:3b"))
    running = await start(wanted, Demo.NEVER)
    await until(running, lambda all_: any(each["completed_bytes"] for each in all_))
    running.services.system.set(SystemState(on_battery=Reading(True, 0.0)))
    (told,) = await until(running, lambda all_: all_[0]["state"] == "waiting")
    assert told["reason_code"] == "pull_waits_for_charger"
    await running.rewrite({**wanted, "model_sync": {"on_battery": True}})
    await until(running, lambda all_: all_[0]["state"] == "pulling" and len(engines[0].pulls) == 2)


async def test_a_reload_that_requires_no_model_breaks_the_pull_off(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    engines[0].may_end.clear()
    running = await start(config(engines, requiring("new:3b")), Demo.NEVER)
    await until(running, lambda all_: any(each["completed_bytes"] for each in all_))
    await running.rewrite(config(engines, requiring()))
    assert await pulls(running) == []
    engines[0].may_end.set()
    await running.rewrite(config(engines, requiring("new:3b", backend_labels=["npu"])))
    assert await pulls(running) == [], "only backends of the front end are concerned"


async def test_a_backend_that_goes_while_the_network_is_asked_about_ends_no_pull_but_its_own(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, may_tell = asyncio.Event(), asyncio.Event()

    async def is_metered(_: SystemNetwork) -> bool:
        is_asked.set()
        await may_tell.wait()
        return False

    monkeypatch.setattr(SystemNetwork, "is_metered", is_metered)
    wanted = config(engines, requiring("new:3b"))
    running = await start(wanted, Demo.NEVER)
    async with asyncio.timeout(60):
        await is_asked.wait()
    gone = [each for each in wanted["backends"] if each["id"] != "gpu"]
    await running.rewrite({**wanted, "backends": gone})
    may_tell.set()
    await until(running, lambda all_: not all_)
    await running.rewrite(wanted)
    async with asyncio.timeout(20):
        while engines[0].pulls != ["new:3b"]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
