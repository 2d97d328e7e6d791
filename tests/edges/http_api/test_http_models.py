"""The lists of both dialects: the union over backends that can serve."""

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import LoadedModel, Model, ModelRules
from ollama_proxyd.core.requests import Api
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, FakeClock, spec_of

BIG = Model("zeta:7b", size_bytes=7, digest="abc", modified_at="2026-01-02T03:04:05.123456789Z", family="llama")


async def names(site: Site, path: str) -> dict[str, list[str]]:
    answer = await site.get(path)
    assert answer.status == 200
    rows = answer.json.get("data", answer.json.get("models"))
    return {row.get("id", row.get("name")): row["backends"] for row in rows}


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags"])
async def test_a_list_is_the_union_by_name_each_with_its_holders_in_configured_order(serve: Serve, path: str) -> None:
    site = await serve(
        FakeBackend("npu", models=("tiny:latest",)), FakeBackend("cpu", models=(BIG, "alpha:1b", "Tiny:latest"))
    )
    found = await names(site, path)
    assert found == {"alpha:1b": ["cpu"], "tiny:latest": ["npu", "cpu"], "zeta:7b": ["cpu"]}
    assert list(found) == sorted(found)


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/api/ps"])
async def test_what_only_a_backend_that_is_down_holds_is_not_listed(serve: Serve, path: str) -> None:
    resting = FakeBackend("cpu", models=(BIG,), loaded=(LoadedModel("zeta:7b"),))
    site = await serve(FakeBackend("npu"), resting)
    resting.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    assert "zeta:7b" in await names(site, path)
    await site.services.health.check_all()
    assert "zeta:7b" not in await names(site, path)


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/api/ps"])
async def test_a_list_is_never_older_than_two_seconds_when_somebody_asks(serve: Serve, path: str) -> None:
    backend, clock = FakeBackend("npu", loaded=()), FakeClock()
    site = await serve(backend, clock=clock)
    backend.models, backend.loaded = (BIG,), (LoadedModel("zeta:7b"),)
    clock.advance(2.1)
    assert await names(site, path) == {"zeta:7b": ["npu"]}


@pytest.mark.parametrize("path", ["/v1/models/zeta:7b", "/api/show"])
async def test_a_model_is_missed_only_after_the_backends_were_asked(serve: Serve, path: str) -> None:
    backend, clock = FakeBackend("npu"), FakeClock()
    site = await serve(backend, clock=clock)
    backend.models = (BIG,)
    clock.advance(0.5)
    answer = await (site.post(path, {"model": "zeta:7b"}) if path == "/api/show" else site.get(path))
    assert answer.status == 200


async def test_what_answered_is_in_memory_at_once(serve: Serve) -> None:
    backend = FakeBackend("npu", loaded=())
    site = await serve(backend)
    await site.post("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "x"}]})
    backend.loaded = (LoadedModel("tiny:latest"),)
    assert await names(site, "/api/ps") == {"tiny:latest": ["npu"]}


async def test_a_model_that_the_configuration_keeps_from_its_only_holder_is_not_listed(serve: Serve) -> None:
    keeper = spec_of("cpu", rules=ModelRules(excluded=("zeta*",)))
    site = await serve(FakeBackend(keeper, models=(BIG, "tiny:latest")))
    assert list(await names(site, "/v1/models")) == ["tiny:latest"]


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/api/ps"])
async def test_a_list_of_nothing_is_empty_and_no_error(serve: Serve, path: str) -> None:
    site = await serve(FakeBackend("npu", models=()))
    assert await names(site, path) == {}


async def test_loaded_models_are_listed_where_backends_can_tell(serve: Serve) -> None:
    tells = FakeBackend("npu", loaded=(LoadedModel("tiny:latest", size_vram_bytes=5),))
    site = await serve(tells, FakeBackend("cpu", loaded=None))
    assert await names(site, "/api/ps") == {"tiny:latest": ["npu"]}


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "TINY", "org/deep/tiny:1b"])
async def test_one_model_is_found_by_any_of_its_spellings_even_with_slashes(serve: Serve, name: str) -> None:
    site = await serve(FakeBackend("npu", models=("tiny:latest", "org/deep/tiny:1b")))
    answer = await site.get(f"/v1/models/{name}")
    assert answer.status == 200
    assert answer.json["object"] == "model"
    assert answer.json["backends"] == ["npu"]


async def test_a_model_that_is_not_there_is_a_404(serve: Serve) -> None:
    answer = await (await serve()).get("/v1/models/nope")
    assert answer.status == 404
    assert "tiny:latest" in answer.json["error"]["message"]


async def test_openai_is_told_when_a_model_was_made_or_else_since_when_it_is_offered(serve: Serve) -> None:
    site = await serve(
        FakeBackend("npu", models=(BIG, "tiny:latest", Model("odd", modified_at="0001-01-01T00:00:00Z")))
    )
    created = {row["id"]: row["created"] for row in (await site.get("/v1/models")).json["data"]}
    assert created["zeta:7b"] == 1_767_323_045
    assert created["tiny:latest"] == created["odd"] > 1_700_000_000


@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}], ids=["openai", "anthropic"])
async def test_a_date_after_the_last_year_hides_no_model(serve: Serve, headers: dict[str, str]) -> None:
    site = await serve(FakeBackend("npu", models=(BIG, Model("odd", modified_at="9999-12-31T23:59:59-14:00"))))
    answer = await site.get("/v1/models", headers=headers)
    assert answer.status == 200
    assert {row["id"] for row in answer.json["data"]} >= {"odd", "zeta:7b"}


async def test_show_asks_a_holder_by_its_own_name_of_the_model(serve: Serve) -> None:
    backend = FakeBackend("npu", models=("Tiny:latest",))
    answer = await (await serve(backend)).post("/api/show", {"model": "tiny", "verbose": True})
    assert answer.status == 200
    assert answer.json == {**backend.details, "model_info": {"general.architecture": "unknown"}}
    assert backend.shown == [("Tiny:latest", {"model": "tiny", "verbose": True})]
    assert answer.headers["X-Backend-Used"] == "npu"


async def test_show_prefers_a_backend_that_keeps_ollamas_own_files(serve: Serve) -> None:
    plain = FakeBackend(spec_of("npu", Api.OPENAI))
    native = FakeBackend(spec_of("cpu", Api.OLLAMA))
    answer = await (await serve(plain, native)).post("/api/show", {"model": "tiny"})
    assert answer.headers["X-Backend-Used"] == "cpu"


async def test_show_obeys_its_target(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("cpu"))
    for backend_id in ("npu", "cpu"):
        answer = await site.post("/api/show", {"model": "tiny"}, headers={"X-Target-Backend": backend_id})
        assert answer.headers["X-Backend-Used"] == backend_id
    unknown = await site.post("/api/show", {"model": "tiny"}, headers={"X-Target-Backend": "gpu9"})
    assert unknown.status == 404
    assert "npu, cpu" in unknown.json["error"]


async def test_ollamas_clients_see_that_ollama_is_there(serve: Serve) -> None:
    site = await serve()
    assert (await site.get("/")).body == b"Ollama is running"
    assert (await site.get("/api/version")).json == {"version": "0.33.0"}
    for path in ("/", "/api/tags", "/api/version"):
        head = await site.ask("HEAD", path)
        assert head.status == 200
        assert head.body == b""
        assert int(head.headers["Content-Length"]) > 0


async def test_detection_can_tell_us_from_the_ollama_that_we_imitate(serve: Serve) -> None:
    answer = await (await serve()).get("/version")
    assert answer.json["name"] == "ollama-proxyd"
    assert answer.headers["Server"] == f"ollama-proxyd/{answer.json['version']}"


@pytest.mark.parametrize("path", ["/v1/models/tiny/", "/v1/models/tiny//"])
async def test_a_slash_after_a_models_name_is_no_part_of_it(serve: Serve, path: str) -> None:
    site = await serve(FakeBackend("npu", models=("tiny",)))
    assert (await site.get(path)).json["id"] == (await site.get("/v1/models/tiny")).json["id"]
    assert "data" in (await site.get("/v1/models//")).json
