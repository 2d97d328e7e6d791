"""Loading, unloading and switching models over HTTP, and stopping the engines that the proxy runs."""

import asyncio
import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Finished, FinishReason
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.edges.http_api.context import SERVICES
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.status_events import EVENT_STREAMS
from tests.edges.http_api.conftest import Answer, Serve, Site
from tests.edges.http_api.test_http_metrics import scrape
from tests.edges.http_api.test_http_status_events import until
from tests.fakes import FakeBackend, reload
from tests.services.engines.machine import GB, ONE_GB_MODEL, Case
from tests.services.engines.run_by_us import RunByUs, with_pool

LOADS = (Accepted(), Finished(FinishReason.LOAD))


def lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.body.splitlines()]


def app_of(server: HttpServer) -> Any:
    return server._app


async def run_by_us(serve: Serve, case: Case, *models: str) -> tuple[Site, RunByUs]:
    backend = RunByUs(case, *models)
    site = await serve(backend)
    app_of(site.server)._state[SERVICES] = with_pool(site.services, case)
    return site, backend


async def test_loading_tells_how_far_it_is_and_at_last_where_the_model_is(serve: Serve) -> None:
    case = Case()
    case.machine.sizes["big"] = int(0.405 * ONE_GB_MODEL)
    site, _ = await run_by_us(serve, case, "big")
    answer = await site.post("/models/load", {"model": "big"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    *steps, last = lines(answer)
    assert {"status": "loading", "backend": "llama", "model": "big", "percent": 40} in steps
    assert (last["status"], last["backend"], last["model"]) == ("success", "llama", "big")
    (engine,) = (await site.get("/status")).json["engines"]
    assert (engine["phase"], engine["loaded_percent"]) == ("ready", None)
    await case.pool.close()


async def test_modelds_instances_tell_the_engine_of_a_model(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a")
    await site.post("/models/load", {"model": "a"})
    status = (await site.get("/status")).json
    (instance,) = status["instances"]
    assert (instance["model_id"], instance["state"], instance["pid"]) == ("a", "ready", 0)
    assert (instance["queue_len"], instance["inflight"], status["state"], status["last_error"]) == (0, 0, "ready", None)
    assert status["uptime_seconds"] >= 0
    await case.pool.close()


async def test_any_backend_loads_where_one_is_named_and_without_a_stream_one_object_comes(serve: Serve) -> None:
    npu, igpu = FakeBackend("npu", *LOADS), FakeBackend("igpu", *LOADS)
    site = await serve(npu, igpu)
    for each in (npu, igpu):
        answer = await site.post("/models/load", {"model": "tiny", "backend": each.spec.id, "stream": False})
        assert answer.json["backend"] == each.spec.id
        assert len(each.requests) == 1


async def test_what_fails_before_the_first_line_has_its_status(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", ProxyError(ErrorKind.NO_ROOM, "it needs 9 GB, there are 2")))
    assert (await site.post("/models/load", {"model": "nothing"})).status == 404
    answer = await site.post("/models/load", {"model": "tiny"})
    assert (answer.status, "9 GB" in answer.body.decode()) == (507, True)


async def test_unloading_tells_where_it_was(serve: Serve) -> None:
    npu = FakeBackend("npu")
    npu.loaded = (LoadedModel("tiny:latest"),)
    site = await serve(npu)
    answer = await site.post("/models/unload", {"model": "tiny"})
    assert (answer.json["backends"], npu.unloaded) == (["npu"], ["tiny:latest"])
    again = await site.post("/models/unload", {"model": "tiny"})
    assert (again.json["backends"], again.json["reason_code"]) == ([], "not_in_memory")


async def test_switching_has_the_others_of_that_backend_leave(serve: Serve) -> None:
    npu = FakeBackend("npu", *LOADS, models=("tiny:latest", "old:latest"))
    npu.loaded = (LoadedModel("tiny:latest"), LoadedModel("old:latest"))
    site = await serve(npu)
    *_, last = lines(await site.post("/models/switch", {"model": "tiny"}))
    assert (last["unloaded"], npu.unloaded) == (["old:latest"], ["old:latest"])


async def test_a_reload_that_takes_the_backend_out_meanwhile_fails_no_switch(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("tiny:latest", "old:latest", "older:latest")
    npu = FakeBackend("npu", *LOADS, models=names)
    npu.loaded = tuple(map(LoadedModel, names))
    site = await serve(npu)
    unload = npu.unload

    async def unload_and_reload(model: str) -> None:
        await unload(model)
        await reload(site.services, FakeBackend("igpu"))

    monkeypatch.setattr(npu, "unload", unload_and_reload)
    *_, last = lines(await site.post("/models/switch", {"model": "tiny"}))
    assert (last["status"], last["unloaded"]) == ("success", ["old:latest"])


async def test_a_stopped_engine_is_gone_and_the_next_load_starts_it_again(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a", "b")
    for model in "ab":
        await site.post("/models/load", {"model": model})
    assert (await site.post("/engines/stop", {"backend": "llama", "model": "a"})).json["stopped"] == ["a"]
    assert case.machine.names == ["b"]
    assert (await site.post("/engines/stop", {"backend": "llama"})).json["stopped"] == ["b"]
    await site.post("/models/load", {"model": "a"})
    assert case.machine.names == ["a"]
    assert (await site.get("/engines/log?backend=llama&model=a")).body == b"llama-a spoke\n"
    await case.pool.close()


async def test_what_an_engine_writes_is_followed_until_the_reader_leaves(serve: Serve) -> None:
    case = Case()
    case.machine.says = asyncio.Queue()
    site, _ = await run_by_us(serve, case, "a")
    await site.post("/models/load", {"model": "a"})
    async with site.client.get("/engines/log?backend=llama&model=a&follow") as reply:
        assert (reply.status, await reply.content.readline()) == (200, b"llama-a spoke\n")
        case.machine.says.put_nowait("and again")
        assert await reply.content.readline() == b"and again\n"
    await until(lambda: not app_of(site.server)[EVENT_STREAMS]._seats)
    await case.pool.close()


async def test_a_log_is_followed_no_longer_by_who_has_not_the_token_any_more(serve: Serve) -> None:
    case, bearer = Case(), {"Authorization": "Bearer old"}
    case.machine.says = asyncio.Queue()
    backend = RunByUs(case, "a")
    site = await serve(backend, listen=ServerSettings(port=0, token="old", drain_s=0.2))
    app_of(site.server)._state[SERVICES] = with_pool(site.services, case)
    await site.post("/models/load", {"model": "a"}, headers=bearer)
    async with site.client.get("/engines/log?backend=llama&model=a&follow", headers=bearer) as reply:
        assert await reply.content.readline() == b"llama-a spoke\n"
        site.server.reconfigure(ServerSettings(token="new"))
        async with asyncio.timeout(20):
            assert (await reply.content.read()).startswith(b"(no further lines: ")
    await case.pool.close()


async def test_as_many_lines_are_told_as_are_asked_for(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a")
    await site.post("/models/load", {"model": "a"})
    case.machine.wrote = [str(number) for number in range(200)]
    for lines, told in ((1, 1), (100, 100), (1000, 201)):
        answer = await site.get(f"/engines/log?backend=llama&model=a&lines={lines}")
        assert len(answer.body.splitlines()) == told
    for wrong in ("0", "-1", "1001", "ten", "", "99999999999"):
        answer = await site.get(f"/engines/log?backend=llama&model=a&lines={wrong}")
        assert (answer.status, answer.json["param"]) == (400, "lines")
    assert (await site.ask("HEAD", "/engines/log?backend=llama&model=a&follow")).status == 405
    await case.pool.close()


async def test_an_engine_that_is_none_is_told_with_those_that_there_are(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a")
    for answer in (await site.post("/engines/stop", {"backend": "npu"}), await site.get("/engines/log?backend=npu")):
        assert (answer.status, "there are: llama" in answer.body.decode()) == (404, True)
    assert (await site.post("/engines/stop", {"backend": "llama", "model": "a"})).status == 404
    assert (await (await serve()).get("/engines/log?backend=npu")).status == 404


async def test_a_backend_that_is_none_is_told_by_the_field_of_the_body(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a")
    answer = await site.post("/models/load", {"model": "a", "backend": "nope"})
    assert (answer.status, answer.json["param"]) == (404, "backend")
    assert answer.json["error"] == "backend names 'nope', which is not a backend here; the backends are: llama"
    await case.pool.close()


async def test_metrics_count_engines_by_state_their_loads_and_their_memory(serve: Serve) -> None:
    case = Case(budget_gb=50)
    site, _ = await run_by_us(serve, case, "a")
    await site.post("/models/load", {"model": "a"})
    value = await scrape(site)
    assert (value("engines", state="ready"), value("engines", state="loading")) == (1, 0)
    assert (value("engine_loads_total"), value("engine_evictions_total")) == (1, 0)
    assert value("engine_memory_limit_bytes", memory="ram") == 50 * GB
    assert (value("engine_memory_used_bytes", memory="ram") or 0) > GB
    await case.pool.close()


async def test_who_listens_hears_of_each_step(serve: Serve) -> None:
    case = Case()
    site, _ = await run_by_us(serve, case, "a")
    async with site.client.get("/status/events") as events:
        await events.content.readline()
        await site.post("/models/load", {"model": "a"})
        async with asyncio.timeout(20):
            while b'"phase":"ready"' not in await events.content.readline():
                pass
    await case.pool.close()


@pytest.mark.parametrize("path", ["/models/load", "/models/unload", "/models/switch", "/engines/stop"])
async def test_pages_of_others_change_nothing(serve: Serve, path: str) -> None:
    npu = FakeBackend("npu", *LOADS)
    site = await serve(npu)
    answer = await site.post(path, {"model": "tiny", "backend": "npu"}, headers={"Origin": "https://example.org"})
    assert (answer.status, npu.requests) == (403, [])
