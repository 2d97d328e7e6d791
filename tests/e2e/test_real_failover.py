"""An answer that breaks off at one real engine goes on at another, to the letter, in every pair of dialects."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.core.fleet import Hardware, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.bundle import Services
from tests.e2e.harness import Fleet, LlamaServer
from tests.e2e.tiny_model import HELLO, REPLY, THINK, WEATHER_TOOL
from tests.fakes import services_of, spec_of
from tests.upstreams.breaking import OllamaLike, Relay, standing
from tests.upstreams.fake_engines import a_client

pytestmark = pytest.mark.real
FAULTS = range(1, 61)
CHEAP, DEAR = Profile(power_w=1.0, ttft_s=0.01, decode_tps=1000.0), Profile(power_w=9.0, ttft_s=1.0, decode_tps=1.0)


@dataclass
class Heard:
    """What a client got: words, and what must be alike in all frames."""

    text: str = ""
    thinking: str = ""
    ids: set[Any] = field(default_factory=set)
    indexes: set[int] = field(default_factory=set)
    errors: int = 0
    ends: int = 0
    usage: dict[str, int] | None = None


def openai_heard(body: bytes) -> Heard:
    heard = Heard()
    for event in body.decode().split("\n\n"):
        if not event.startswith("data: "):
            continue
        if event == "data: [DONE]":
            heard.ends += 1
            continue
        frame = json.loads(event[6:])
        if "error" in frame:
            heard.errors += 1
            continue
        heard.ids.add((frame["id"], frame["model"], frame["object"], frame["system_fingerprint"]))
        heard.usage = frame.get("usage") or heard.usage
        for choice in frame["choices"]:
            heard.indexes.add(choice["index"])
            said = choice.get("delta", choice)
            heard.text += said.get("content") or said.get("text") or ""
            heard.thinking += said.get("reasoning_content") or ""
    return heard


def ollama_heard(body: bytes) -> Heard:
    heard = Heard()
    for line in map(json.loads, body.splitlines()):
        if "error" in line:
            heard.errors += 1
            continue
        heard.usage = {"completion_tokens": line["eval_count"]} if line["done"] else None
        said = line.get("message", line)
        heard.ids.add(line["model"])
        heard.text += said.get("content") or said.get("response") or ""
        heard.thinking += said.get("thinking") or ""
        heard.ends += line["done"]
    return heard


def anthropic_heard(body: bytes) -> Heard:
    heard, open_blocks = Heard(), dict[int, str]()
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        frame = json.loads(data.removeprefix("data: "))
        assert name == f"event: {frame['type']}"
        kind, said = frame["type"], frame.get("delta", {})
        heard.ends += kind == "message_stop"
        heard.errors += kind == "error"
        if kind == "message_start":
            heard.ids.add((frame["message"]["id"], frame["message"]["model"]))
        elif kind == "content_block_start":
            open_blocks[frame["index"]] = frame["content_block"]["type"]
        elif kind == "content_block_stop":
            del open_blocks[frame["index"]]
        elif kind == "message_delta":
            heard.usage = {"completion_tokens": frame["usage"]["output_tokens"]}
        elif kind == "content_block_delta":
            assert said["type"].startswith((open_blocks[frame["index"]], "signature"))
        heard.text += said.get("text", "")
        heard.thinking += said.get("thinking", "")
    assert not (heard.ends and open_blocks)
    return heard


FRAMES_BEFORE_WORDS = {"anthropic": 2}
"""Breaks among them are failures before the answer, and two of those open the backend's circuit."""
ANTHROPIC = {"messages": HELLO, "temperature": 0, "max_tokens": 200, "stream": True}
CALLS: dict[str, tuple[str, dict[str, Any], Callable[[bytes], Heard]]] = {
    "openai chat": ("/v1/chat/completions", {"messages": HELLO, "temperature": 0, "stream": True}, openai_heard),
    "anthropic": ("/v1/messages", ANTHROPIC, anthropic_heard),
    "openai text": ("/v1/completions", {"prompt": "Hello!", "temperature": 0, "stream": True}, openai_heard),
    "ollama chat": ("/api/chat", {"messages": HELLO, "options": {"temperature": 0}}, ollama_heard),
    "ollama prompt": ("/api/generate", {"prompt": "hello", "options": {"temperature": 0}}, ollama_heard),
    "ollama raw": ("/api/generate", {"prompt": "Hello!", "raw": True, "options": {"temperature": 0}}, ollama_heard),
}


@dataclass
class Site:
    relay: Relay
    url: str
    services: Services


@asynccontextmanager
async def site(first: LlamaServer | OllamaLike, second: LlamaServer | OllamaLike) -> AsyncGenerator[Site, None]:
    """The proxy in front of two engines, the cheaper of which breaks off where the relay is told to."""
    relay = Relay(first.url)
    async with standing(relay), a_client() as client:

        def backend(backend_id: str, engine: LlamaServer | OllamaLike, url: str, profile: Profile) -> Any:
            api, flavor = (Api.OLLAMA, "ollama") if isinstance(engine, OllamaLike) else (Api.OPENAI, "llamacpp")
            facts = spec_of(backend_id, api, endpoint=url, flavor=flavor, profile=profile, hardware=Hardware.CPU)
            return EngineBackend(facts, client)

        pair = backend("breaks", first, relay.url, CHEAP), backend("whole", second, second.url, DEAR)
        services = await services_of(*pair, mode=Mode.EFFICIENCY)
        server = HttpServer(services, ServerSettings(port=0, drain_s=0.2))
        await server.start()
        try:
            yield Site(relay, server.url, services)
        finally:
            await server.stop()


async def heard_after(place: Site, call: str, frames: int | None, model: str, **more: Any) -> Heard:
    place.relay.frames = frames
    path, body, heard = CALLS[call]
    async with (
        aiohttp.ClientSession() as client,
        client.post(place.url + path, json={"model": model, **body, **more}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return heard(await reply.read())


async def check_every_fault(place: Site, call: str, model: str, **more: Any) -> None:
    undisturbed = await heard_after(place, call, None, model, **more)
    assert undisturbed.ends == 1
    for frames in FAULTS[FRAMES_BEFORE_WORDS.get(call, 0) :]:
        got = await heard_after(place, call, frames, model, **more)
        place.services.fleet.due.clear()
        assert (got.errors, got.ends) == (0, 1), frames
        assert (got.thinking, got.text) == (undisturbed.thinking, undisturbed.text), frames
        assert len(got.ids) == 1, frames
        assert got.indexes <= {0}
    resumed = [outcome for outcome in place.services.ledger.recent() if outcome.resumed]
    assert resumed
    assert all(outcome.succeeded and outcome.retried == ("breaks",) for outcome in resumed)


@pytest.mark.parametrize(
    "call", ["openai chat", "openai text", "ollama chat", "ollama prompt", "ollama raw", "anthropic"]
)
async def test_what_breaks_at_a_llama_server_goes_on_at_another_even_while_it_thinks(fleet: Fleet, call: str) -> None:
    async with site(fleet.tiny, fleet.tiny) as place:
        await check_every_fault(place, call, "tiny")


@pytest.mark.parametrize("call", ["openai chat", "ollama chat", "ollama prompt", "ollama raw", "anthropic"])
@pytest.mark.parametrize("pair", ["ollama to ollama", "ollama to llama-server", "llama-server to ollama"])
async def test_what_breaks_goes_on_at_an_engine_of_another_dialect(fleet: Fleet, call: str, pair: str) -> None:
    ollamas = OllamaLike(fleet.calm.url, "calm"), OllamaLike(fleet.calm.url, "calm")
    async with standing(*ollamas):
        first, second = (ollamas[at] if each == "ollama" else fleet.calm for at, each in enumerate(pair.split(" to ")))
        async with site(first, second) as place:
            await check_every_fault(place, call, "calm")


@pytest.mark.parametrize("call", ["openai chat", "ollama chat", "anthropic"])
async def test_usage_and_limits_are_those_of_one_answer(fleet: Fleet, call: str) -> None:
    async with site(fleet.calm, fleet.calm) as place:
        limit = {"max_tokens": 12, "stream_options": {"include_usage": True}}
        limits: dict[str, dict[str, Any]] = {
            "openai chat": limit,
            "ollama chat": {"options": {"temperature": 0, "num_predict": 12}},
            "anthropic": {"max_tokens": 12},
        }
        more = limits[call]
        undisturbed = await heard_after(place, call, None, "calm", **more)
        for frames in range(2, 15):
            got = await heard_after(place, call, frames, "calm", **more)
            assert (got.text, got.errors, got.ends) == (undisturbed.text, 0, 1), frames
            assert (got.usage or {}).get("completion_tokens") == (undisturbed.usage or {}).get("completion_tokens")
        assert REPLY.startswith(undisturbed.text)


async def test_settings_that_hold_for_each_token_go_on_where_the_engine_knows_them(fleet: Fleet) -> None:
    more = {"max_tokens": 40, "ignore_eos": True}
    async with site(fleet.calm, fleet.calm) as place:
        undisturbed = await heard_after(place, "openai chat", None, "calm", **more)
        for frames in range(2, 40, 6):
            got = await heard_after(place, "openai chat", frames, "calm", **more)
            assert (got.text, got.errors, got.ends) == (undisturbed.text, 0, 1), frames
    ollama = OllamaLike(fleet.calm.url, "calm")
    async with standing(ollama), site(fleet.calm, ollama) as place:
        got = await heard_after(place, "openai chat", 9, "calm", **more)
        assert (got.errors, got.ends) == (1, 0)


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"n": 2},
        {"grammar": 'root ::= "Hello! I am a tiny random model"'},
        {"tools": [WEATHER_TOOL]},
        {"ignore_eos": True, "logprobs": True},
    ],
)
async def test_what_cannot_go_on_exactly_ends_honestly(fleet: Fleet, more: dict[str, Any]) -> None:
    async with site(fleet.calm, fleet.calm) as place:
        got = await heard_after(place, "openai chat", 4, "calm", **more)
    assert (got.errors, got.ends) == (1, 0)


@pytest.mark.parametrize("pair", ["ollama to ollama", "ollama to llama-server", "llama-server to ollama"])
async def test_a_prompt_that_one_engine_puts_into_its_template_and_another_does_not_ends_honestly(
    fleet: Fleet, pair: str
) -> None:
    ollamas = OllamaLike(fleet.calm.url, "calm"), OllamaLike(fleet.calm.url, "calm")
    async with standing(*ollamas):
        first, second = (ollamas[at] if each == "ollama" else fleet.calm for at, each in enumerate(pair.split(" to ")))
        async with site(first, second) as place:
            got = await heard_after(place, "openai text", 5, "calm")
    assert (got.errors, got.ends) == (1, 0)


async def test_an_engine_that_cannot_go_on_from_thinking_is_not_asked_to(fleet: Fleet) -> None:
    second = OllamaLike(fleet.tiny.url, "tiny")
    async with standing(second), site(fleet.tiny, second) as place:
        got = await heard_after(place, "openai chat", 5, "tiny")
    assert (got.errors, got.ends) == (1, 0)
    assert THINK.startswith(got.thinking)
    assert not second.asked
