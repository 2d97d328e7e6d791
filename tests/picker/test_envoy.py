"""A real Envoy asks the picker: where requests go, what becomes of them, and what happens without it."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from tests.e2e import tiny_model
from tests.e2e.harness import LlamaServer
from tests.edges.picker_api.conftest import until
from tests.free_ports import free_port
from tests.picker.conftest import StartPicker
from tests.picker.gateway import gateway
from tests.real_things import installed
from tests.upstreams.engines import openai_list
from tests.upstreams.fake_engines import FakeEngine, Says, serving

pytestmark = [pytest.mark.timeout(240), pytest.mark.real, pytest.mark.xdist_group("envoy")]

ANSWER = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 20},
}
FRAMES = [
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number
    for number in range(30)
]
LAST = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":30}}\n\ndata: [DONE]\n\n'
)


class Engines:
    """Stand-ins for engines behind Envoy: `slow` needs few joules, `fast` few seconds."""

    def __init__(self, **engines: FakeEngine) -> None:
        self.engines = engines

    @property
    def ports(self) -> list[int]:
        return [each.port for each in self.engines.values()]

    def config(self) -> dict[str, Any]:
        traits = {
            "slow": {"power_watts": 5, "avg_latency_ms": 1000, "max_tokens_per_second": 10},
            "fast": {"power_watts": 200, "avg_latency_ms": 100, "max_tokens_per_second": 100},
        }
        backends = [
            {"id": name, "type": "openai", "endpoint": engine.url, "characteristics": traits.get(name, traits["fast"])}
            for name, engine in self.engines.items()
        ]
        return {"backends": backends, "picker": {"load_interval_s": 0.05}}

    def say(self, name: str, metrics: str) -> None:
        self.engines[name].routes["GET /metrics"] = Says(metrics.encode())

    def asked(self, name: str) -> int:
        return sum(each.path == "/v1/chat/completions" for each in self.engines[name].asked)


async def _chat(request: web.Request) -> web.StreamResponse:
    if not (await request.json()).get("stream"):
        return web.json_response(ANSWER)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for frame in FRAMES:
        await response.write(frame)
        await asyncio.sleep(0.005)
    await response.write(LAST)
    return response


def engine() -> FakeEngine:
    metrics = Says(b"vllm:num_requests_running{} 0\nvllm:num_requests_waiting{} 0\nvllm:kv_cache_usage_perc{} 0.1\n")
    return FakeEngine(
        {"GET /v1/models": Says(openai_list("m")), "POST /v1/chat/completions": _chat, "GET /metrics": metrics}
    )


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    async with AsyncExitStack() as stack:
        yield Engines(**{name: await stack.enter_async_context(serving(engine())) for name in ("slow", "fast")})


async def ask(url: str, content: str = "Hi", **more: Any) -> tuple[int, str | None, bytes]:
    """The status, the backend that answered by its header, and the body."""
    headers = more.pop("headers", {})
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/v1/chat/completions", json=body, headers=headers) as reply,
    ):
        return reply.status, reply.headers.get("x-backend-used"), await reply.read()


async def until_answered(url: str, wanted: int, used: str | None = None, **options: Any) -> bytes:
    """The body of the first answer with this status, by this backend, once what was changed is known."""
    async with asyncio.timeout(30):
        while (seen := await ask(url, **options))[:2] != (wanted, used):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.05)
    return seen[2]


@pytest.mark.parametrize("body_mode", ["FULL_DUPLEX_STREAMED", "BUFFERED"])
async def test_the_destination_follows_mode_load_and_the_beginning_of_the_prompt(
    engines: Engines, start_picker: StartPicker, tmp_path: Path, body_mode: str
) -> None:
    picker = await start_picker(engines.config())
    async with gateway(tmp_path, picker.port, engines.ports, body_mode=body_mode) as url:
        await picker.choose("Efficiency")
        assert (await ask(url))[:2] == (200, "slow")
        await picker.choose("Performance")
        assert (await ask(url))[:2] == (200, "fast")
        assert [engines.asked("slow"), engines.asked("fast")] == [1, 1], "where it says is where it went"

        engines.say("fast", "vllm:num_requests_running 16\nvllm:num_requests_waiting 40\n")
        await until_answered(url, 200, "slow")
        shed = await ask(url, headers={"X-Priority": "best-effort"})
        assert shed[:2] == (200, "slow"), "one endpoint is not under heavy load"
        engines.say("slow", "vllm:num_requests_waiting 5\n")
        told = await until_answered(url, 429, headers={"X-Priority": "best-effort"})
        assert json.loads(told)["error"]["code"] == "saturated"
        assert (await ask(url))[0] == 200
        for name in ("slow", "fast"):
            engines.say(name, "vllm:num_requests_waiting 0\n")


async def test_a_prompt_goes_where_its_beginning_was_read(start_picker: StartPicker, tmp_path: Path) -> None:
    async with serving(engine()) as a, serving(engine()) as b:
        both = Engines(a=a, b=b)
        picker = await start_picker(both.config())
        async with gateway(tmp_path, picker.port, both.ports) as url:
            prompt = "once upon a time " * 2000
            assert (await ask(url, prompt, headers={"X-Target-Backend": "b"}))[:2] == (200, "b")
            assert (await ask(url, "short"))[:2] == (200, "a")
            assert (await ask(url, prompt + "and then"))[:2] == (200, "b")
            assert (await ask(url, "now " + prompt))[:2] == (200, "a")


async def test_twenty_streams_at_once_come_whole_over_a_reload_a_mode_and_the_end_of_an_engine(
    engines: Engines, start_picker: StartPicker, tmp_path: Path
) -> None:
    picker = await start_picker(engines.config())
    async with gateway(tmp_path, picker.port, engines.ports) as url:
        asked = [asyncio.create_task(ask(url, stream=True)) for _ in range(20)]
        await asyncio.sleep(0.05)
        picker.file.write_text(json.dumps({**picker.config, "monitoring": {"log_level": "warning"}}))
        picker.process.send_signal(signal.SIGHUP)
        await picker.choose("Performance")
        for status, _, body in await asyncio.gather(*asked):
            assert (status, body) == (200, b"".join(FRAMES) + LAST)
        backends = {each["id"]: each for each in (await picker.status())["backends"]}
        assert [each["in_flight"] for each in backends.values()] == [0, 0]
        engines.engines["fast"].routes["POST /v1/chat/completions"] = Says({"error": "gone"}, 500)
        seen = [(await ask(url))[:2] for _ in range(8)]
        assert seen[-1] == (200, "slow"), seen


async def test_a_connection_that_fails_goes_to_the_next_endpoint_of_the_list(
    start_picker: StartPicker, tmp_path: Path
) -> None:
    async with serving(engine()) as stays:
        dies = serving(engine())
        both = Engines(slow=await dies.__aenter__(), fast=stays)
        picker = await start_picker({**both.config(), "monitoring": {"health_interval_s": 600}})
        await picker.choose("Efficiency")
        async with gateway(tmp_path, picker.port, both.ports) as url:
            assert (await ask(url))[:2] == (200, "slow")
            await dies.__aexit__(None, None, None)
            assert (await ask(url))[0] == 200
            assert both.asked("fast") == 1


@pytest.mark.parametrize("body_mode", ["FULL_DUPLEX_STREAMED", "BUFFERED"])
@pytest.mark.parametrize("fails_open", [True, False])
async def test_without_the_picker_the_gateway_does_what_its_failure_mode_says(
    engines: Engines, start_picker: StartPicker, tmp_path: Path, fails_open: bool, body_mode: str
) -> None:
    picker = await start_picker(engines.config())
    async with gateway(tmp_path, picker.port, engines.ports, fails_open=fails_open, body_mode=body_mode) as url:
        assert (await ask(url))[0] == 200
        await picker.kill()
        if fails_open and body_mode == "FULL_DUPLEX_STREAMED":
            # Envoy keeps no copy of a body that it has sent to the picker, so it fails open only where it knows by a
            # health check that the picker is gone (envoyproxy/envoy#41276).
            await until_answered(url, 200)
        with_picker_gone = [await ask(url) for _ in range(4)]
        assert [status for status, *_ in with_picker_gone] == ([200] * 4 if fails_open else [500] * 4)
        assert all(used is None for _, used, _ in with_picker_gone)
        assert (engines.asked("slow") > 1 and engines.asked("fast") > 1) is fails_open, "it balances by itself"


async def test_the_picker_ends_when_it_is_told_and_requests_under_way_come_whole(
    engines: Engines, start_picker: StartPicker, tmp_path: Path
) -> None:
    picker = await start_picker(engines.config())
    async with gateway(tmp_path, picker.port, engines.ports) as url:
        under_way = [asyncio.create_task(ask(url, stream=True)) for _ in range(5)]
        await until(lambda: engines.asked("slow") + engines.asked("fast") == 5)
        picker.process.send_signal(signal.SIGTERM)
        for status, _, body in await asyncio.gather(*under_way):
            assert (status, body) == (200, b"".join(FRAMES) + LAST)
        async with asyncio.timeout(30):
            assert await picker.process.wait() == 0


@pytest.mark.parametrize("body_mode", ["FULL_DUPLEX_STREAMED", "BUFFERED"])
async def test_no_request_fails_while_the_picker_ends(
    engines: Engines, start_picker: StartPicker, tmp_path: Path, body_mode: str
) -> None:
    picker = await start_picker(engines.config())
    async with gateway(tmp_path, picker.port, engines.ports, body_mode=body_mode) as url:
        seen: list[tuple[int, bool]] = []

        async def ask_on() -> None:
            while picker.process.returncode is None:
                status, used, _ = await ask(url)
                seen.append((status, used is not None))

        asking = [asyncio.create_task(ask_on()) for _ in range(5)]
        await until(lambda: len(seen) > 20)
        picker.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await picker.process.wait() == 0
            await asyncio.gather(*asking)
        assert {status for status, _ in seen} == {200}
        assert {is_picked for _, is_picked in seen} == {True, False}, "at last the gateway balances by itself"


async def test_gateways_reach_the_picker_by_tls_as_by_default(
    engines: Engines, start_picker: StartPicker, tmp_path: Path
) -> None:
    picker = await start_picker({**engines.config(), "picker": {"secure_serving": True, "health_port": free_port()}})
    await picker.choose("Performance")
    async with gateway(tmp_path, picker.port, engines.ports, is_secure=True) as url:
        assert (await ask(url))[:2] == (200, "fast")


async def test_the_gateways_subset_limits_the_choice(
    engines: Engines, start_picker: StartPicker, tmp_path: Path
) -> None:
    picker = await start_picker(engines.config())
    await picker.choose("Efficiency")
    fast = f"127.0.0.1:{engines.engines['fast'].port}"
    async with gateway(tmp_path, picker.port, engines.ports, subset=[fast]) as url:
        assert (await ask(url))[:2] == (200, "fast")
    async with gateway(tmp_path, picker.port, engines.ports, subset=["10.9.9.9:1"]) as url:
        assert (await ask(url))[0] == 503


async def test_large_bodies_pass_and_those_beyond_the_limit_are_413(
    engines: Engines, start_picker: StartPicker, tmp_path: Path
) -> None:
    picker = await start_picker({**engines.config(), "server": {"max_body_bytes": 6_000_000}})
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 5_000_000}]}).encode()
    async with gateway(tmp_path, picker.port, engines.ports) as url, aiohttp.ClientSession() as client:
        async with client.post(f"{url}/v1/chat/completions", data=io.BytesIO(body)) as reply:
            assert reply.status == 200
            used = reply.headers["x-backend-used"]
        (sent,) = [each.body for each in engines.engines[used].asked if each.method == "POST"]
        assert sent == body
        async with client.post(f"{url}/v1/chat/completions", data=io.BytesIO(body + b" " * 2_000_000)) as reply:
            assert reply.status == 413


async def test_real_llama_servers_get_what_the_policy_says_and_read_a_known_beginning_from_their_cache(
    start_picker: StartPicker, tmp_path: Path
) -> None:
    program, model = Path(installed("install-llama-server")), tiny_model.build(tmp_path / "tiny.gguf")
    servers = {
        "slow": LlamaServer(program, model, "tiny", tmp_path),
        "fast": LlamaServer(program, model, "tiny", tmp_path),
    }
    try:
        await asyncio.gather(*(asyncio.to_thread(each.ready) for each in servers.values()))
        traits = Engines(slow=engine(), fast=engine()).config()["backends"]
        config = [{**each, "flavor": "llamacpp", "endpoint": servers[each["id"]].url} for each in traits]
        picker = await start_picker({"backends": config})
        ports = [urlsplit(each.url).port or 0 for each in servers.values()]
        async with gateway(tmp_path, picker.port, ports) as url:
            for mode, name in (("Performance", "fast"), ("Efficiency", "slow")):
                await picker.choose(mode)
                assert (await ask(url, model="tiny", max_tokens=8))[:2] == (200, name)
            beginning = "once upon a time " * 100
            target = {"X-Target-Backend": "fast"}
            await ask(url, beginning, model="tiny", max_tokens=8, headers=target)
            _, _, body = await ask(url, f"{beginning} and then", model="tiny", max_tokens=8, headers=target)
            assert json.loads(body)["timings"]["cache_n"] > 0
            servers["slow"].stop()
            answers = [(await ask(url, model="tiny", max_tokens=8))[:2] for _ in range(3)]
            assert answers[-1] == (200, "fast")
            assert [status for status, _ in answers] == [200, 200, 200], "Envoy goes down the list"
    finally:
        for each in servers.values():
            each.stop()
