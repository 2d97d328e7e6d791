"""Ollama's calls that change models: where they go, what comes back, and who may send them."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import ModelRules
from ollama_proxyd.core.management import Managed
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.inventory import BackendConfig
from tests.edges.http_api.conftest import Answer, Serve, Site
from tests.fakes import FakeBackend, spec_of

LINES = (b'{"status":"pulling manifest"}\n', b'{"status":"success"}\n')
NDJSON = Managed(200, "application/x-ndjson")
DIGEST = f"sha256:{'a' * 64}"


def ollama(name: str, *models: str, answers: Any = (NDJSON, *LINES), **changes: Any) -> FakeBackend:
    backend = FakeBackend(replace(spec_of(name), **changes), models=models)
    backend.management = answers
    return backend


def other(name: str) -> FakeBackend:
    backend = FakeBackend(name)
    backend.can_manage = False
    return backend


async def called(site: Site, path: str, body: Any, method: str = "POST", **headers: str) -> Answer:
    return await site.ask(method, path, json=body, headers=headers)


def asked(*backends: FakeBackend) -> list[str]:
    return [each.spec.id for each in backends if each.managed]


async def test_with_one_ollama_everything_goes_there_as_bytes(serve: Serve) -> None:
    one = ollama("igpu")
    site = await serve(other("npu"), one)
    answer = await called(site, "/api/pull", {"model": "new"})
    assert (answer.status, answer.body) == (200, b"".join(LINES))
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert (answer.headers["X-Backend-Used"], one.managed[0].body) == ("igpu", b'{"model": "new"}')


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/status"), ("POST", "/api/me"), ("POST", "/api/signout")])
async def test_an_ollama_answers_for_its_own_account(serve: Serve, method: str, path: str) -> None:
    """An unknown account is a 401 with the page to sign in at, which the command shows."""
    told = b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=a"}'
    one = ollama("igpu", answers=(Managed(401, "application/json"), told))
    site = await serve(other("npu"), one)
    answer = await called(site, path, None, method)
    assert (answer.status, answer.body, answer.headers["X-Backend-Used"]) == (401, told, "igpu")
    assert [(each.method, each.path) for each in one.managed] == [(method, path)]
    assert (await called(site, path, None, method, Origin="https://ollama.com")).status == 403


async def test_what_is_switched_off_is_said_to_be_so(serve: Serve) -> None:
    one = ollama("igpu")
    site = await serve(one)
    await site.post("/backends/igpu", {"enabled": False})
    answer = await called(site, "/api/pull", {"model": "new"})
    assert (answer.status, "igpu: switched off" in answer.json["error"]) == (400, True)


async def test_with_several_a_target_counts_then_the_configuration_then_what_is_cheapest(serve: Serve) -> None:
    both = npu, nvidia = ollama("npu", "tiny"), ollama("nvidia", "tiny")
    site = await serve(*both)
    cheapest = (await site.post("/routing/explain", {})).json["backend"]
    await called(site, "/api/pull", {"model": "new"})
    assert asked(*both) == [cheapest]
    nvidia.managed.clear()
    npu.managed.clear()
    await called(site, "/api/pull", {"model": "new"}, **{"X-Target-Backend": "nvidia"})
    assert asked(*both) == ["nvidia"]
    unknown = await called(site, "/api/pull", {"model": "new"}, **{"X-Target-Backend": "none"})
    assert (unknown.status, "npu, nvidia" in unknown.json["error"]) == (404, True)
    configured = await serve(*both, listen=ServerSettings(port=0, pull_to="nvidia"))
    nvidia.managed.clear()
    await called(configured, "/api/pull", {"model": "new"})
    assert asked(*both) == ["nvidia"]


async def test_a_backend_that_is_not_meant_for_a_model_does_not_get_it(serve: Serve) -> None:
    npu, nvidia = ollama("npu", rules=ModelRules(supported=("tiny*",))), ollama("nvidia")
    site = await serve(npu, nvidia)
    await called(site, "/api/pull", {"model": "large:70b"})
    assert asked(npu, nvidia) == ["nvidia"]
    for each in (npu, nvidia):
        each._spec = replace(each.spec, rules=ModelRules(excluded=("*",)))
    nowhere = await called(await serve(npu, nvidia), "/api/pull", {"model": "large:70b"})
    assert (nowhere.status, "choose one with X-Target-Backend" in nowhere.json["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/api/delete", {"model": "tiny"}),
        ("POST", "/api/copy", {"source": "tiny", "destination": "other"}),
        ("POST", "/api/create", {"model": "other", "from": "tiny"}),
        ("POST", "/api/create", {"model": "other", "from": "tiny", "stream": False}),
    ],
)
async def test_what_concerns_a_model_goes_to_all_that_hold_it(
    serve: Serve, method: str, path: str, body: dict[str, Any]
) -> None:
    fleet = ollama("npu", "tiny:latest"), ollama("igpu", "tiny:latest"), ollama("nvidia", "large")
    site = await serve(*fleet)
    answer = await called(site, path, body, method)
    assert (answer.status, asked(*fleet)) == (200, ["npu", "igpu"])
    assert answer.headers["X-Backend-Used"] == "npu,igpu"


async def test_one_backend_pushes(serve: Serve) -> None:
    fleet = ollama("npu", "tiny"), ollama("igpu", "tiny")
    await called(await serve(*fleet), "/api/push", {"model": "tiny"})
    assert asked(*fleet) == ["npu"]


async def test_a_refusal_keeps_its_status_and_names_its_backend_where_there_are_several(serve: Serve) -> None:
    gone = (Managed(404, "application/json"), b'{"error":"model \'tiny\' not found"}')
    alone = await serve(ollama("npu", answers=gone))
    answer = await called(alone, "/api/delete", {"model": "tiny"}, "DELETE")
    assert (answer.status, answer.json) == (404, {"error": "model 'tiny' not found"})
    both = await serve(ollama("npu", "tiny"), ollama("igpu", "tiny", answers=gone))
    answer = await called(both, "/api/delete", {"model": "tiny"}, "DELETE")
    assert (answer.status, answer.json) == (404, {"error": "igpu: model 'tiny' not found"})


async def test_errors_in_a_stream_stay_errors(serve: Serve) -> None:
    said = b'{"error":"pull model manifest: file does not exist"}\n'
    answer = await called(await serve(ollama("npu", answers=(NDJSON, LINES[0], said))), "/api/pull", {"model": "x"})
    assert answer.body == LINES[0] + said
    broken = ProxyError(ErrorKind.UPSTREAM_FAILED, "npu broke off")
    answer = await called(await serve(ollama("npu", answers=(NDJSON, LINES[0], broken))), "/api/pull", {"model": "x"})
    assert json.loads(answer.body.splitlines()[-1]) == {"error": "npu broke off"}
    before = await called(await serve(ollama("npu", answers=(broken,))), "/api/pull", {"model": "x"})
    assert (before.status, before.json) == (502, {"error": "npu broke off"})


async def test_a_client_that_leaves_ends_the_work(serve: Serve) -> None:
    backend = ollama("npu", answers=(NDJSON, LINES[0], asyncio.Event()))
    site = await serve(backend)
    async with site.client.post("/api/pull", json={"model": "x"}) as reply:
        await reply.content.readline()
        assert site.services.gateway.in_flight == 1
    async with asyncio.timeout(20):
        await backend.closed.wait()


async def test_blobs_pass_as_they_arrive_and_a_model_is_made_where_its_files_are(serve: Serve) -> None:
    has_not, has = ollama("npu", answers=(Managed(404, ""),)), ollama("igpu", answers=(Managed(200, ""),))
    site = await serve(has_not, has)
    await called(site, "/api/create", {"model": "x", "files": {"a.gguf": DIGEST}})
    assert [each.path for each in has.managed] == [f"/api/blobs/{DIGEST}", "/api/create"]
    assert (await site.ask("HEAD", f"/api/blobs/{DIGEST}")).status == 404
    assert (await site.post("/api/blobs/sha256:0")).status == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/pull", {}),
        ("/api/pull", {"model": 7}),
        ("/api/pull", []),
        ("/api/copy", {"destination": "x"}),
        ("/api/create", {"from": "tiny"}),
    ],
)
async def test_odd_bodies_are_refused_before_any_backend_is_asked(serve: Serve, path: str, body: Any) -> None:
    backend = ollama("npu")
    answer = await called(await serve(backend), path, body)
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert not backend.managed


async def test_without_an_ollama_it_says_what_to_do_instead(serve: Serve) -> None:
    answer = await called(await serve(other("npu")), "/api/pull", {"model": "x"})
    assert answer.status == 400
    assert "give the engine its models itself" in answer.json["error"]


async def test_pages_change_no_models_even_where_they_may_chat(serve: Serve) -> None:
    backend = ollama("npu")
    site = await serve(backend, listen=ServerSettings(port=0, allowed_origins=("https://chat.example.org",)))
    own = site.server.url
    foreign: list[dict[str, str]] = [
        {"Origin": "https://chat.example.org"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Origin": f"{own}0"},
        {"Origin": own, "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://chat.example.org", "Sec-Fetch-Site": "same-origin"},
    ]
    for headers in foreign:
        answer = await called(site, "/api/pull", {"model": "x"}, **headers)
        assert (answer.status, backend.managed) == (403, []), headers


async def test_the_server_s_own_page_changes_models(serve: Serve) -> None:
    backend = ollama("npu")
    site = await serve(backend)
    own = {"Origin": site.server.url, "Sec-Fetch-Site": "same-origin"}
    assert (await called(site, "/api/pull", {"model": "x"}, **own)).status == 200
    assert len(backend.managed) == 1


async def test_twenty_at_once(serve: Serve) -> None:
    backend = ollama("npu")
    site = await serve(backend)
    answers = await asyncio.gather(*(called(site, "/api/pull", {"model": str(at)}) for at in range(20)))
    assert [answer.body for answer in answers] == [b"".join(LINES)] * 20
    assert len(backend.managed) == 20


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/pull", {"model": "new"}),
        ("DELETE", "/api/delete", {"model": "tiny"}),
        ("POST", "/api/create", {"model": "other", "from": "tiny"}),
        ("POST", "/api/me", None),
    ],
)
async def test_a_backend_that_was_taken_out_with_requests_under_way_is_in_the_way_of_nothing(
    serve: Serve, method: str, path: str, body: Any
) -> None:
    npu, igpu = ollama("npu", "tiny"), ollama("igpu", "tiny")
    site = await serve(npu, igpu)
    with site.services.fleet.lease("igpu"):
        site.services.fleet.reconcile([BackendConfig(npu.spec)])
        answer = await called(site, path, body, method)
        assert (answer.status, asked(npu, igpu)) == (200, ["npu"])


async def test_a_backend_that_a_reload_takes_out_meanwhile_ends_the_call_with_that_reason(serve: Serve) -> None:
    gate = asyncio.Event()
    npu, igpu = ollama("npu", "tiny", answers=(NDJSON, *LINES, gate)), ollama("igpu", "tiny")
    site = await serve(npu, igpu)
    async with site.client.post("/api/create", json={"model": "other", "from": "tiny"}) as reply:
        await reply.content.readline()
        site.services.fleet.reconcile([BackendConfig(npu.spec)])
        gate.set()
        *_, last = (await reply.read()).splitlines()
    assert json.loads(last) == {"error": "backend igpu was taken out of the configuration meanwhile; ask again"}
