"""What a reload of the configuration changes, and what goes on as if it had not been."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from ollama_proxyd.app import engines, sources
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.watch import SETTLE_S
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.detect import Detected, Look
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig, FleetChanges
from ollama_proxyd.services.ledger import Ledger
from tests.app.conftest import Running, Start
from tests.fakes import spec_of
from tests.free_ports import free_port

FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
CALM: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}}


class Upstream:
    """An engine whose answers stay open until they are let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.checks = 0
        self.url = ""

    async def models(self, _: web.Request) -> web.Response:
        self.checks += 1
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(FRAME)
        await self.let_go.wait()
        await response.write(END)
        return response


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.add_routes([web.get("/v1/models", upstream.models), web.post("/v1/chat/completions", upstream.chat)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield upstream
    await runner.cleanup()


def engine(upstream: Upstream, **fields: Any) -> dict[str, Any]:
    return {"id": "one", "type": "openai", "endpoint": upstream.url, "hardware": "igpu", **fields}


async def stream(running: Running) -> asyncio.Task[bytes]:
    """A stream that has begun and is not over."""
    begun = asyncio.Event()

    async def read() -> bytes:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with running.client.post(f"{running.daemon.url}/v1/chat/completions", json=body) as reply:
            first = await reply.content.readexactly(len(FRAME))
            begun.set()
            return first + await reply.read()

    reading = asyncio.create_task(read())
    async with asyncio.timeout(60):
        await begun.wait()
    return reading


def queue_wait_s(running: Running, backend_id: str = "one") -> float:
    ranked = running.services.gateway.explain(Query("m")).ranked
    return next(each.terms["queue_wait_s"] for each in ranked if each.backend_id == backend_id)


async def test_who_changes_the_file_and_asks_for_a_reload_gets_one(start: Start, lines: list[str]) -> None:
    running = await start(CALM)
    running.write({**CALM, "efficiency": {"auto": {"hot_c": 60}}})
    running.daemon.ask_reload()
    await running.until(running.services.governor.modes, lambda modes: modes.auto.hot_c == 60)
    await asyncio.sleep(3 * SETTLE_S)
    assert lines.count("the configuration was reloaded") == 1
    running.write({**CALM, "efficiency": {"auto": {"hot_c": 62}}})
    await running.until(running.services.governor.modes, lambda modes: modes.auto.hot_c == 62)


async def test_a_reload_tells_nothing_of_backends_that_a_demo_does_not_serve(
    start: Start, upstream: Upstream, lines: list[str]
) -> None:
    running = await start(CALM, Demo.ALWAYS)
    await running.rewrite({**CALM, "backends": [engine(upstream)], "efficiency": {"auto": {"hot_c": 60}}})
    assert [each for each in lines if each.startswith("reload: ")] == [
        "reload: efficiency.auto.hot_c changes from 75.0 to 60.0"
    ]


async def test_a_reload_in_the_middle_of_a_stream_loses_nothing(start: Start, upstream: Upstream) -> None:
    running = await start({**CALM, "backends": [engine(upstream)]}, demo=Demo.NEVER)
    reading = await stream(running)
    before = running.services.fleet.view("one")
    waiting_s = queue_wait_s(running)
    assert (before.in_flight, before.health) == (1, Health.UP)
    assert waiting_s > 0
    checks = upstream.checks
    await running.rewrite({**CALM, "backends": [engine(upstream)], "routing": {"retries": 0}})
    assert running.services.fleet.view("one") is before
    assert queue_wait_s(running) == pytest.approx(waiting_s, rel=0.5)
    assert running.services.gateway.in_flight == 1
    metrics = await running.text("/metrics")
    assert 'ollama_proxy_backend_in_flight{backend_id="one"} 1.0' in metrics
    assert upstream.checks == checks, "what did not change is not asked again"
    upstream.let_go.set()
    assert await reading == FRAME + END
    assert running.services.fleet.view("one").in_flight == 0


async def test_a_changed_backend_counts_the_stream_of_the_one_before(start: Start, upstream: Upstream) -> None:
    running = await start({**CALM, "backends": [engine(upstream)]}, demo=Demo.NEVER)
    reading = await stream(running)
    await running.rewrite({**CALM, "backends": [engine(upstream, hardware="nvidia")]})
    assert running.services.fleet.view("one").in_flight == 1
    assert queue_wait_s(running) > 0
    upstream.let_go.set()
    assert await reading == FRAME + END


async def test_a_timeout_changes_without_a_stream_being_cut(start: Start, upstream: Upstream) -> None:
    running = await start({**CALM, "backends": [engine(upstream)]}, demo=Demo.NEVER)
    reading = await stream(running)
    await running.rewrite({**CALM, "backends": [engine(upstream)], "upstream": {"first_byte_s": 0.01}})
    assert running.daemon._foundation.http.timeouts.first_byte_s == 0.01
    upstream.let_go.set()
    assert await reading == FRAME + END


async def test_where_a_configuration_cannot_be_put_in_force_nothing_has_changed(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {**CALM, "backends": [engine(upstream)]}
    running = await start(before, demo=Demo.NEVER)
    daemon, services = running.daemon, running.services
    parts = (services.fleet.views, services.governor.modes, services.governor.setting, services.settings.tuning)
    kept = [cell.value for cell in parts]
    timeouts, interval_s = daemon._foundation.http.timeouts, services.health.interval_s
    real = EngineBackend

    def make(spec: Any, *rest: Any) -> EngineBackend:
        if spec.id == "broken":
            raise KeyError("a fault of ours")
        return real(spec, *rest)

    monkeypatch.setattr(engines, "EngineBackend", make)
    after = {
        **before,
        "backends": [engine(upstream, hardware="nvidia"), engine(upstream, id="broken", endpoint="http://127.0.0.1:1")],
        "efficiency": {"modes": {"Balanced": {"price_of_time_watts": 1}}, "auto": {"low_battery_percent": 30}},
        "monitoring": {"health_interval_s": 7},
        "upstream": {"first_byte_s": 1},
    }
    with pytest.raises(KeyError):
        await running.rewrite(after)
    assert [cell.value for cell in parts] == kept
    assert (daemon._foundation.http.timeouts, services.health.interval_s) == (timeouts, interval_s)
    assert services.governor.table[Mode.BALANCED].price_of_time_w != 1
    assert (await running.get("/health"))["status"] == "ok"


async def test_the_demo_gives_way_by_itself_when_an_engine_appears(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering: list[Detected] = []

    async def detect(_: object) -> Look:
        return Look(tuple(answering))

    monkeypatch.setattr(sources, "detect", detect)
    running = await start({**CALM, "detection": {"interval_s": 0.05}}, demo=Demo.IF_NONE)
    assert running.services.fleet.has("npu")
    assert "demo" in running.daemon.source
    spec = spec_of("found", endpoint=upstream.url)
    answering.append(Detected(spec, "found something"))
    await running.until(running.services.fleet.views, lambda views: [view.spec.id for view in views] == ["found"])
    assert running.daemon.source == "found on this machine"


async def test_a_reload_keeps_an_engine_that_is_too_busy_to_be_found_again(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = [Detected(spec_of("found", api=Api.OPENAI, endpoint=upstream.url), "found something")]

    async def detect(_: object) -> Look:
        return Look(tuple(answering))

    monkeypatch.setattr(sources, "detect", detect)
    config = {**CALM, "detection": {"ports": [urlsplit(upstream.url).port]}}
    running = await start(config, demo=Demo.IF_NONE)
    fleet = running.services.fleet
    reading = await stream(running)
    answering.clear()
    await running.rewrite(config)
    assert [(view.spec.id, view.health) for view in fleet.views.value] == [("found", Health.UP)]
    await running.rewrite({**CALM, "detection": {"ports": [1]}})
    assert not fleet.has("found"), "a port that is looked at no longer is no reason to keep it"
    upstream.let_go.set()
    assert await reading == FRAME + END


async def test_a_reload_keeps_a_found_engine_that_starts_again_meanwhile(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one answers, so nothing would look for it again: its models would be unknown from then on."""
    one = Detected(spec_of("one", api=Api.OPENAI, endpoint=upstream.url), "found one")
    gone = Detected(spec_of("gone", api=Api.OPENAI, endpoint=f"http://127.0.0.1:{free_port()}"), "found another")
    answering = [one, gone]

    async def detect(_: object) -> Look:
        return Look(tuple(answering))

    monkeypatch.setattr(sources, "detect", detect)
    config = {**CALM, "detection": {"ports": [urlsplit(each.spec.endpoint).port for each in answering]}}
    running = await start(config, demo=Demo.NEVER)
    answering.remove(gone)
    await running.rewrite(config)
    assert [(view.spec.id, view.health) for view in running.services.fleet.views.value] == [
        ("one", Health.UP),
        ("gone", Health.DOWN),
    ]


async def test_a_start_reconciles_the_fleet_once(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sources offer is in force already when they are followed."""
    reconciled: list[int] = []
    reconcile = Fleet.reconcile

    def counted(fleet: Fleet, wanted: Sequence[BackendConfig]) -> FleetChanges:
        reconciled.append(len(wanted))
        return reconcile(fleet, wanted)

    monkeypatch.setattr(Fleet, "reconcile", counted)
    running = await start({**CALM, "backends": [engine(upstream)]}, demo=Demo.NEVER)
    await running.rewrite({**CALM, "backends": [engine(upstream)]})
    await asyncio.sleep(0.2)
    assert reconciled == [1, 1]


async def test_what_would_lie_in_the_memory_of_backends_that_are_gone_is_forgotten(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[set[str]] = []
    monkeypatch.setattr(Ledger, "forget_all_but", lambda _, backend_ids: kept.append(set(backend_ids)))
    other = engine(upstream, id="two", endpoint=f"{upstream.url}/two")
    running = await start({**CALM, "backends": [engine(upstream), other]}, demo=Demo.NEVER)
    await running.rewrite({**CALM, "backends": [other]})
    assert kept == [{"one", "two"}, {"two"}]


async def test_configured_backends_replace_what_was_found(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def detect(_: object) -> Look:
        return Look((Detected(spec_of("found", endpoint=upstream.url), "found something"),))

    monkeypatch.setattr(sources, "detect", detect)
    running = await start(CALM, demo=Demo.NEVER)
    assert [view.spec.id for view in running.services.fleet.views.value] == ["found"]
    await running.rewrite({**CALM, "backends": [engine(upstream)]})
    assert [view.spec.id for view in running.services.fleet.views.value] == ["one"]
    await running.rewrite(CALM)
    assert [view.spec.id for view in running.services.fleet.views.value] == ["found"]
