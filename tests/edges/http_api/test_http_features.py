"""GET and POST /api/features: ten flags, each with what it really does; none is enabled for nothing."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.topology import Topology
from tests.edges.http_api.conftest import Serve, Site
from tests.edges.http_api.test_http_management import ollama
from tests.fakes import FakeBackend, spec_of

LAPTOP = Topology(performance_cores=6, memory_bytes=32 * 10**9)


def engine(name: str, api: Api = Api.OLLAMA, flavor: str = "generic") -> FakeBackend:
    return FakeBackend(replace(spec_of(name), api=api, flavor=flavor, hardware=Hardware.CPU))


async def switch(site: Site, feature: str, *, enabled: bool = True, **more: Any) -> Any:
    answer = await site.post("/api/features", {"feature": feature, "enabled": enabled, **more})
    assert answer.status == 200, answer.body
    return next(each for each in answer.json if each["id"] == feature)


async def test_the_ten_flags_are_listed_in_order_and_off(serve: Serve) -> None:
    told = (await (await serve(engine("cpu"))).get("/api/features")).json
    assert [each["id"] for each in told][:2] == ["flash_attn", "mmap_weights"]
    assert (len(told), {each["enabled"] for each in told}) == (10, {False})
    for each in told:
        assert {"name", "description", "wanted", "kept"} <= set(each)
        assert all(effect["reason"] for effect in each["backends"])


async def test_a_flag_is_enabled_only_where_it_does_something(serve: Serve) -> None:
    site = await serve(engine("llama", Api.OPENAI, "llamacpp"), topology=LAPTOP)
    flag = await switch(site, "mmap_weights")
    assert (flag["wanted"], flag["enabled"], flag["backends"][0]["way"]) == (True, False, "engine")
    flag = await switch(site, "mlock_weights")
    assert (flag["enabled"], "--mlock" in flag["backends"][0]["reason"]) == (False, True)
    other = await serve(engine("cpu"), topology=LAPTOP)
    assert (await switch(other, "thread_hint"))["backends"][0] == {
        "backend": "cpu",
        "way": "request",
        "in_force": True,
        "reason": "each request asks for num_thread=6",
        "reason_code": "feature_request",
        "reason_details": {"option": "num_thread=6"},
    }
    assert (await other.get("/status")).json["features"] == ["thread_hint"]


async def test_a_flag_is_switched_off_again_and_kept_where_asked(serve: Serve) -> None:
    site = await serve(engine("cpu"))
    assert (await switch(site, "lean_context", keep=True))["kept"] is True
    assert (await switch(site, "mmap_weights"))["kept"] is False
    assert site.services.store.get("features") == ["lean_context"]
    off = await switch(site, "lean_context", enabled=False)
    assert (off["enabled"], off["kept"], site.services.store.get("features")) == (False, False, [])


@pytest.mark.parametrize(
    "body",
    [
        {"feature": "warp", "enabled": True}, {"feature": "x" * 5000, "enabled": True}, {"feature": "batching"},
        {"enabled": True}, {"feature": 7, "enabled": True}, {"feature": "batching", "enabled": "yes"}, [], "x", None,
        {"feature": "batching", "enabled": True, "unknown": 1},
    ],
)  # fmt: skip
async def test_odd_bodies_change_nothing(serve: Serve, body: Any) -> None:
    site = await serve(engine("cpu"))
    answer = await site.post("/api/features", body)
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert not site.services.features.wishes.value.on


async def test_cached_prefixes_are_a_term_of_routing_while_the_flag_is_on(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("igpu"))
    long = [{"role": "user", "content": "word " * 2000}]

    async def notes() -> str:
        answer = await site.chat(messages=[*long, {"role": "user", "content": "more"}])
        assert answer.status == 200
        decision = site.services.ledger.recent()[-1].decision
        assert decision is not None
        return " ".join(note.code for note in decision.ranked[0].notes)

    assert "prefix_cached" not in await notes()
    assert "prefix_cached" not in await notes()
    await switch(site, "prefix_cache")
    assert "prefix_cached" in await notes()
    await switch(site, "prefix_cache", enabled=False)
    assert "prefix_cached" not in await notes()


async def test_a_pull_is_told_what_fits_while_the_advisor_is_on(serve: Serve) -> None:
    site = await serve(ollama("npu"), topology=LAPTOP)
    assert "X-Quant-Advice" not in (await site.post("/api/pull", {"model": "llama3.1:8b"})).headers
    await switch(site, "quant_advisor")
    answer = await site.post("/api/pull", {"model": "llama3.1:8b"})
    assert answer.headers["X-Quant-Advice"] == "q8_0; backend=npu"
    await switch(site, "aggressive_quant")
    answer = await site.post("/api/pull", {"model": "llama3.1:8b", "stream": False})
    assert answer.headers["X-Quant-Advice"] == "q6_K; backend=npu"
    assert (await site.get("/api/quant-advice?model=x:8b")).json["recommended"]["tag"] == "q6_K"
    assert (await site.get("/api/quant-advice?model=x:8b&aggressive=0")).json["recommended"]["tag"] == "q8_0"
    assert "X-Quant-Advice" not in (await site.post("/api/pull", {"model": "unknown"})).headers


async def test_twenty_at_once(serve: Serve) -> None:
    site = await serve(engine("cpu"))
    await asyncio.gather(*(switch(site, "mmap_weights", enabled=bool(at % 2)) for at in range(20)))
    assert (await site.get("/api/features")).status == 200
