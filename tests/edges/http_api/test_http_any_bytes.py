"""Whatever comes in at a door is answered or refused: no 500, no endless wait, no slot that stays taken."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS
from tests.any_json import ANY_JSON, nearly, nearly_bytes
from tests.dialects.anthropic import test_anthropic_any_bytes as anthropic
from tests.dialects.ollama import test_ollama_any_bytes as ollama
from tests.dialects.openai import test_openai_any_bytes as openai
from tests.fakes import FakeBackend, services_of

CALL_ITEM = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "data:x"}]},
    CALL_ITEM,
    {"type": "function_call_output", "call_id": "c", "output": "x"},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
    {"type": "item_reference", "id": "x"},
]
RESPONSE = {
    "model": "tiny",
    "input": ITEMS,
    "instructions": "x",
    "stream": True,
    "previous_response_id": "x",
    "store": True,
    "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
    "reasoning": {"effort": "low"},
    "max_output_tokens": 5,
    "include": ["message.output_text.logprobs"],
}
EXPLAIN = {"model": "tiny", "mode": "Balanced", "hints": {"priority": "high"}, "prompt_tokens": 5, "on_battery": True}
ROUTES: Sequence[tuple[str, Any]] = (
    ("/v1/chat/completions", {**openai.CHAT, "model": "tiny"}),
    ("/v1/completions", {"model": "tiny", "prompt": "x", "suffix": "x", "logprobs": 2}),
    ("/v1/embeddings", {"model": "tiny", "input": ["x"], "encoding_format": "base64", "dimensions": 2}),
    ("/v1/responses", RESPONSE),
    ("/v1/messages", {**anthropic.BODY, "model": "tiny"}),
    ("/v1/messages/count_tokens", {**anthropic.BODY, "model": "tiny"}),
    ("/api/chat", {**ollama.TEXT, "model": "tiny", "messages": ollama.MESSAGES, "tools": ollama.TOOLS}),
    ("/api/generate", {**ollama.TEXT, "model": "tiny", "prompt": "x", "images": ["AAAA"], "context": [1], "raw": True}),
    ("/api/embed", {**ollama.SETTINGS, "model": "tiny", "input": ["x"]}),
    ("/api/embeddings", {**ollama.SETTINGS, "model": "tiny", "prompt": "x"}),
    ("/api/show", {"model": "tiny", "verbose": True, "system": "x"}),
    ("/api/copy", {"source": "tiny", "destination": "other"}),
    ("/api/pull", {"model": "tiny", "stream": True, "insecure": False}),
    ("/api/create", {"model": "new", "from": "tiny", "files": {"x": "sha256:1"}, "parameters": {"stop": ["x"]}}),
    ("/routing/explain", EXPLAIN),
    ("/efficiency", {"mode": "Balanced"}),
    ("/settings", {"prefer_battery_life": True}),
    ("/backends/npu", {"enabled": True}),
)
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""A smaller example of so many requests takes minutes to find."""
OLLAMAS_500 = b"must be of type"
"""What Ollama itself says with this status where an option has a wrong type."""
NO_VECTORS = b"the backend sent no vectors"
"""The backend of these tests answers everything with words."""
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip)
HINTS = st.dictionaries(st.sampled_from(sorted({*HEADERS.values(), "Cache-Control", "X-Request-ID"})), TEXT, max_size=2)
CALLS = st.sampled_from(ROUTES).flatmap(
    lambda route: st.tuples(st.just(route[0]), nearly_bytes(route[1]) | st.binary(max_size=40), HINTS)
)
MESSAGE = {
    "request_id": "a",
    "model": "tiny",
    "prompt": "x",
    "stream": True,
    "priority": "high",
    "max_latency_ms": 9000,
    "options": {"temperature": 0.5, "top_k": 3, "stop": ["x"], "tools": openai.CHAT["tools"]},
    "annotations": {"target_backend": "npu", "max_power_watts": 15, "latency_critical": True},
    "cancel": "b",
}
FRAMES = nearly_bytes(MESSAGE) | nearly(MESSAGE).map(lambda told: json.dumps(told).encode()) | st.binary(max_size=20)


class Door:
    """A server in front of one backend, which must be as it was when the door is closed."""

    async def __aenter__(self) -> "Door":
        self.services = await services_of(FakeBackend("npu"))
        self.server = HttpServer(self.services, ServerSettings(port=0, drain_s=0.1))
        await self.server.start()
        self.client = aiohttp.ClientSession(self.server.url, timeout=aiohttp.ClientTimeout(10))
        return self

    async def __aexit__(self, *_: object) -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
        async with self.client.post("/backends/npu", json={"enabled": True}):
            pass
        async with self.client.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200, await reply.text()
        await self.client.close()
        (view,) = self.services.fleet.views.value
        held = self.server._app[BODIES]
        await self.server.stop()
        assert (view.in_flight, held.held_bytes, held.arriving) == (0, 0, 0)


@settings(max_examples=10, phases=UNSHRUNK)
@given(st.lists(CALLS, min_size=10, max_size=20))
def test_any_request_is_answered_or_refused(calls: list[tuple[str, bytes, dict[str, str]]]) -> None:
    async def ask() -> None:
        async with Door() as door:
            for path, body, hints in calls:
                async with door.client.post(path, data=body, headers=hints) as reply:
                    said = await reply.read()
                    is_known = OLLAMAS_500 in said or NO_VECTORS in said
                    assert reply.status not in {500, 502} or is_known, (path, body, hints, said)

    asyncio.run(ask())


@settings(max_examples=10)
@given(st.lists(FRAMES, min_size=10, max_size=20))
def test_any_message_on_a_websocket_is_answered_or_refused(messages: list[bytes]) -> None:
    async def ask() -> None:
        async with Door() as door, door.client.ws_connect("/v1/stream/ws") as socket:
            for each in messages:
                await socket.send_bytes(each)
            await socket.send_json({"ping": "the last"})
            async with asyncio.timeout(60):
                while (told := await socket.receive_json()) != {"pong": "the last"}:
                    assert told.get("code") != "internal", told

    asyncio.run(ask())


@settings(max_examples=10)
@given(ANY_JSON)
def test_a_client_that_leaves_in_the_middle_of_any_body_leaves_nothing(value: Any) -> None:
    body = json.dumps(value).encode()

    async def leave() -> None:
        async with Door() as door:
            port = int(door.server.url.rsplit(":", 1)[1])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body) + 5}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    asyncio.run(leave())
