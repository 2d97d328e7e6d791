"""The demo fleet: four simulated devices that say so, at their own pace."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.core.events import Accepted, Delta, Finished, FinishReason
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.ollama.parse import parse_chat
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.demo.devices import DEVICES
from ollama_proxyd.edges.demo.engine import TYPICAL_TOKENS, SimulatedEngine, vector
from ollama_proxyd.edges.demo.fleet import start_demo
from ollama_proxyd.edges.plumbing.http import HttpClient

FAST = 0.001


class Demo:
    """A running fleet and a client of it."""

    def __init__(self, specs: tuple[BackendSpec, ...], http: aiohttp.ClientSession) -> None:
        self.specs = {spec.id: spec for spec in specs}
        self.http = http

    async def get(self, device: str, path: str) -> Any:
        async with self.http.get(self.specs[device].endpoint + path) as response:
            return await response.json()

    async def post(self, device: str, path: str, status: int = 200, **body: Any) -> Any:
        async with self.http.post(self.specs[device].endpoint + path, json=body) as response:
            assert response.status == status
            text = await response.text()
        lines = [json.loads(line) for line in text.splitlines()]
        return lines if response.content_type == "application/x-ndjson" else lines[0]


@pytest.fixture
async def demo() -> AsyncGenerator[Demo, None]:
    fleet = await start_demo(FAST)
    async with aiohttp.ClientSession() as http:
        yield Demo(fleet.specs, http)
    await fleet.close()


def hello(**fields: Any) -> Request:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(json.dumps(body).encode(), Hints())


async def test_the_fleet_is_the_reference_profile(demo: Demo) -> None:
    told = {
        spec.id: (spec.hardware, spec.profile.power_w, spec.profile.ttft_s, spec.profile.decode_tps)
        for spec in demo.specs.values()
    }
    assert told == {
        "npu": (Hardware.NPU, 3.0, 0.8, 10.0),
        "igpu": (Hardware.IGPU, 12.0, 0.35, 22.0),
        "nvidia": (Hardware.NVIDIA, 55.0, 0.15, 65.0),
        "cpu": (Hardware.CPU, 28.0, 1.2, 6.0),
    }
    assert {spec.api for spec in demo.specs.values()} == {Api.OLLAMA}


@pytest.mark.parametrize("device", [device.id for device in DEVICES])
async def test_each_device_says_in_its_own_name_that_it_is_simulated(demo: Demo, device: str) -> None:
    answer = await demo.post(device, "/api/generate", model="demo", prompt="who are you?", stream=False)
    label = next(each.label for each in DEVICES if each.id == device)
    assert answer["response"].startswith(f"I am the simulated {label} of ollama-proxyd's demo fleet.")
    assert answer["eval_count"] == TYPICAL_TOKENS
    assert answer["done_reason"] == "stop"


async def test_a_stream_and_a_whole_answer_say_the_same(demo: Demo) -> None:
    lines = await demo.post("npu", "/api/chat", model="demo", messages=[{"role": "user", "content": "hi"}])
    whole = await demo.post(
        "npu", "/api/chat", model="demo", messages=[{"role": "user", "content": "hi"}], stream=False
    )
    assert len(lines) == TYPICAL_TOKENS + 1
    assert "".join(line["message"]["content"] for line in lines) == whole["message"]["content"]
    assert lines[-1]["done"] is True


async def test_num_predict_limits_the_answer(demo: Demo) -> None:
    options = {"num_predict": 3}
    answer = await demo.post("igpu", "/api/generate", model="demo", prompt="hi", stream=False, options=options)
    assert answer["response"] == "I am the"
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 3)


async def test_an_answer_of_no_tokens_is_given_as_asked(demo: Demo) -> None:
    options = {"num_predict": 0}
    answer = await demo.post("igpu", "/api/generate", model="demo", prompt="hi", stream=False, options=options)
    assert (answer["response"], answer["done_reason"], answer["eval_count"]) == ("", "length", 0)


async def test_only_large_devices_hold_the_large_model(demo: Demo) -> None:
    held = {
        device: {model["name"] for model in (await demo.get(device, "/api/tags"))["models"]} for device in demo.specs
    }
    assert {device for device, names in held.items() if "demo-large:latest" in names} == {"nvidia", "cpu"}
    assert all("demo:latest" in names for names in held.values())


async def test_a_model_that_a_device_does_not_hold_is_not_found(demo: Demo) -> None:
    answer = await demo.post("npu", "/api/chat", 404, model="demo-large", messages=[{"role": "user", "content": "hi"}])
    assert answer == {"error": "model 'demo-large' not found"}
    assert "error" in await demo.post("npu", "/api/show", 404, model="nope")
    assert "error" in await demo.post("npu", "/api/chat", 400, messages=[])


async def test_a_content_that_cannot_be_read_is_refused_before_a_stream_begins(demo: Demo) -> None:
    parts = [{"type": "text", "text": "hi"}]
    answer = await demo.post("npu", "/api/chat", 400, model="demo", messages=[{"role": "user", "content": parts}])
    assert "messages[0].content" in answer["error"]


async def test_unloading_shows_in_the_list_of_loaded_models(demo: Demo) -> None:
    assert [model["name"] for model in (await demo.get("npu", "/api/ps"))["models"]] == ["demo:latest"]
    answer = await demo.post("npu", "/api/generate", model="demo", keep_alive=0)
    assert answer["done_reason"] == "unload"
    assert (await demo.get("npu", "/api/ps"))["models"] == []
    assert (await demo.post("npu", "/api/generate", model="demo"))["done_reason"] == "load"
    assert len((await demo.get("npu", "/api/ps"))["models"]) == 1


async def test_vectors_are_the_same_for_the_same_text_and_of_unit_length(demo: Demo) -> None:
    first = await demo.post("npu", "/api/embed", model="demo", input=["a", "b"])
    again = await demo.post("cpu", "/api/embed", model="demo", input="b")
    assert first["embeddings"][1] == again["embeddings"][0]
    assert first["embeddings"][0] != first["embeddings"][1]
    assert sum(number * number for number in vector("a")) == pytest.approx(1)
    assert (await demo.post("npu", "/api/embeddings", model="demo", prompt="b"))["embedding"] == again["embeddings"][0]


async def test_the_daemons_own_backend_can_check_and_use_a_device(demo: Demo) -> None:
    client = HttpClient()
    backend = EngineBackend(demo.specs["nvidia"], client)
    probe = await backend.probe()
    events = [event async for event in backend.answer(hello(options={"num_predict": 2}), "demo:latest")]
    shown = await backend.show("demo:latest", {})
    await client.close()
    assert [model.name for model in probe.models] == ["demo:latest", "demo-large:latest"]
    assert probe.loaded is not None
    assert events[0] == Accepted()
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.LENGTH
    assert "simulated" in shown["modelfile"]


async def test_a_device_keeps_its_pace() -> None:
    scale = 0.02
    engine = SimulatedEngine(DEVICES[0], scale)
    began_s = time.monotonic()
    events = [event async for event in engine.answer(hello(options={"num_predict": 50}))]
    assert time.monotonic() - began_s >= (0.8 + 49 / 10) * scale * 0.95
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.timings.prompt_s == pytest.approx(0.8 * scale)


async def test_a_device_answers_one_request_after_another() -> None:
    engine = SimulatedEngine(DEVICES[0], FAST)
    order: list[str] = []

    async def ask(name: str) -> None:
        async for _ in engine.answer(hello(options={"num_predict": 3})):
            order.append(name)  # noqa: PERF401 - the order among both is what counts

    await asyncio.gather(ask("first"), ask("second"))
    assert order == ["first"] * 4 + ["second"] * 4


async def test_a_client_that_leaves_makes_room_for_the_next() -> None:
    engine = SimulatedEngine(DEVICES[0], FAST)
    async with aclosing(engine.answer(hello())) as events:
        assert isinstance(await anext(events), Delta)
    rest = [event async for event in engine.answer(hello(options={"num_predict": 1}))]
    assert isinstance(rest[-1], Finished)


async def test_a_port_that_is_taken_ends_the_devices_that_had_started() -> None:
    fleet = await start_demo(FAST)
    taken = int(fleet.specs[0].endpoint.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await start_demo(FAST, (0, 0, 0, taken))
    await fleet.close()
