"""GET /api/quant-advice: Porpulsion's shape, for this model on these devices."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware, LoadedModel, Model
from ollama_proxyd.core.readings import DeviceState, Reading, SystemState
from ollama_proxyd.core.topology import Topology
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, spec_of

INFO = {
    "general.architecture": "llama",
    "general.parameter_count": 8_030_261_248,
    "llama.block_count": 32,
    "llama.context_length": 131072,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
}
HELD = Model("llama3.1:8b", 4_920_000_000, parameter_size="8.0B", quantization="Q4_K_M")
CARD = DeviceState(
    "0000:01:00.0",
    Hardware.NVIDIA,
    "RTX 4060",
    memory_total_bytes=Reading(8 * 10**9, 1),
    memory_used_bytes=Reading(0, 1),
)


def engine(name: str, hardware: Hardware, *models: Model) -> FakeBackend:
    backend = FakeBackend(replace(spec_of(name), hardware=hardware), models=models)
    backend.details = {"model_info": INFO}
    return backend


async def laptop(serve: Serve) -> Site:
    site = await serve(
        engine("cpu", Hardware.CPU, HELD),
        engine("nvidia", Hardware.NVIDIA, HELD),
        topology=Topology(memory_bytes=32 * 10**9),
    )
    site.services.system.set(SystemState(memory_available_bytes=Reading(20 * 10**9, 1), devices=(CARD,)))
    return site


async def advice(site: Site, query: str = "model=llama3.1:8b&context=8192") -> Any:
    answer = await site.get(f"/api/quant-advice?{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_each_device_gets_its_own_advice_by_its_own_memory(serve: Serve) -> None:
    told = await advice(await laptop(serve))
    by_device = {each["backend"]: each for each in told["devices"]}
    assert by_device["cpu"]["recommended"] == "q8_0"
    assert by_device["nvidia"]["recommended"] == "q5_K_M"
    assert by_device["cpu"]["memory_free_bytes"] == 20 * 10**9
    assert (told["parameters"], told["parameters_from"]) == (8_030_261_248, "the model")


async def test_the_shape_is_porpulsions(serve: Serve) -> None:
    told = await advice(await laptop(serve), "model=llama3.1:8b&backend=cpu")
    assert {"tag", "label", "description", "min_ram_gb"} <= set(told["recommended"])
    assert [each["tag"] for each in told["all_tiers"]][:2] == ["q8_0", "q6_K"]
    assert (told["ram_gb"], told["backend"]) == (32.0, "cpu")
    assert told["registry_tags"]["reason_code"] == "tags_not_listed"
    held = {each["tag"]: each["models"] for each in told["all_tiers"]}
    assert (held["q4_K_M"], held["q8_0"]) == (["llama3.1:8b"], [])


async def test_the_context_is_the_one_that_is_asked_for_or_loaded_or_a_usual_one(serve: Serve) -> None:
    site = await laptop(serve)
    assert (await advice(site, "model=llama3.1:8b"))["context_tokens"] == 8192
    assert (await advice(site, "model=llama3.1:8b&context=100"))["context_tokens"] == 100
    cpu = site.services.fleet.backend("cpu")
    cpu.loaded = (LoadedModel("llama3.1:8b", context_length=4096),)  # type: ignore[attr-defined]
    await site.services.health.check_all()
    assert (await advice(site, "model=llama3.1:8b"))["context_tokens"] == 4096


async def test_without_a_model_one_of_8_billion_parameters_is_meant(serve: Serve) -> None:
    told = await advice(await laptop(serve), "backend=cpu")
    assert (told["parameters"], told["parameters_from"], told["model"]) == (8e9, "assumed", None)
    assert told["recommended"]["tag"] == "q8_0"


async def test_a_model_that_nobody_holds_is_judged_by_its_name(serve: Serve) -> None:
    told = await advice(await laptop(serve), "model=llama3.1:70b&backend=cpu")
    assert (told["parameters"], told["parameters_from"], told["recommended"]) == (70e9, "its name", None)
    assert told["devices"][0]["reason_code"] == "nothing_fits"
    assert told["all_tiers"][0]["cache_bytes"] is None


async def test_aggressive_is_one_tier_lower(serve: Serve) -> None:
    told = await advice(await laptop(serve), "model=llama3.1:8b&context=8192&backend=cpu&aggressive=1")
    assert told["recommended"]["tag"] == "q6_K"


async def test_a_device_that_does_not_tell_its_memory_gets_no_advice(serve: Serve) -> None:
    site = await serve(engine("nvidia", Hardware.NVIDIA, HELD))
    told = await advice(site)
    assert (told["recommended"], told["devices"][0]["reason_code"]) == (None, "memory_unknown")


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("model=unknown", 404, "model"),
        ("model=" + "x" * 5000, 404, "model"),
        ("model=x:8b&context=0", 400, "context"),
        ("model=x:8b&context=-1", 400, "context"),
        ("model=x:8b&context=" + "9" * 500, 400, "context"),
        ("model=x:8b&context=٣", 400, "context"),
        ("model=x:8b&aggressive=perhaps", 400, "aggressive"),
        ("model=x:8b&backend=none", 404, "backend"),
    ],
)
async def test_odd_questions_are_refused_with_the_parameter(serve: Serve, query: str, status: int, param: str) -> None:
    answer = await (await laptop(serve)).get(f"/api/quant-advice?{query}")
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert param in answer.json["error"] or param == "model"


@pytest.mark.parametrize("info", [None, [], {"general.architecture": 7}, {"general.parameter_count": -5}, {"x": "y"}])
async def test_odd_details_of_an_engine_do_no_harm(serve: Serve, info: Any) -> None:
    site = await laptop(serve)
    for backend in ("cpu", "nvidia"):
        site.services.fleet.backend(backend).details = {"model_info": info}  # type: ignore[attr-defined]
    told = await advice(site)
    assert told["all_tiers"][0]["cache_bytes"] is None
    assert told["parameters"] == 8e9


async def test_twenty_at_once(serve: Serve) -> None:
    site = await laptop(serve)
    told = await asyncio.gather(*(advice(site) for _ in range(20)))
    assert [each["recommended"] for each in told] == [told[0]["recommended"]] * 20


async def test_where_no_backend_of_this_machine_is_yet_its_memory_counts(serve: Serve) -> None:
    elsewhere = FakeBackend(spec_of("cloud", is_local=False))
    told = await advice(await serve(elsewhere, topology=Topology(memory_bytes=16 * 10**9)))
    assert told["recommended"]["fits"] is True
    assert (len(told["all_tiers"]), told["backend"], told["devices"][0]["backend"]) == (7, None, None)
