"""Calls of the Responses API at engines of each kind: asked as a chat, and answered in words."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.kept_responses import KeptResponses
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.openai.responses.dialect import Responses
from tests.edges.backends.test_exchange import API_CHAT, CHAT, NDJSON, SSE, backend_at, events_of, frames, text
from tests.upstreams.fake_engines import FakeEngine, serving, streams
from tests.upstreams.frames import OLLAMA_STREAM, OPENAI_STREAM

SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}}


def call(**fields: Any) -> Request:
    body = {"model": "tiny", "input": "hi", "instructions": "be kind", "max_output_tokens": 9, **fields}
    body["text"] = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA}}
    return Responses(KeptResponses()).parse(json.dumps(body).encode(), Hints())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("kind", "flavor", "route", "said", "content_type"),
    [
        (Api.OPENAI, "llamacpp", CHAT, OPENAI_STREAM, SSE),
        (Api.OPENAI, "vllm", CHAT, OPENAI_STREAM, SSE),
        (Api.OPENAI, "generic", CHAT, OPENAI_STREAM, SSE),
        (Api.OLLAMA, "ollama", API_CHAT, OLLAMA_STREAM, NDJSON),
    ],
)
async def test_each_engine_is_asked_in_its_first_dialect(
    kind: Api, flavor: str, route: str, said: bytes, content_type: str, *, stream: bool
) -> None:
    routes = {route: streams(said, content_type=content_type)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, kind, flavor) as backend:
        events = await events_of(backend, call(stream=stream))
    assert (text(events), frames(events)) == ("Grüß Gott", b"")
    assert isinstance(events[-1], Finished)
    asked = json.loads(engine.asked[0].body)
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    if kind is Api.OLLAMA:
        assert (asked["format"], asked["options"]["num_predict"]) == (SCHEMA, 9)
    else:
        assert (asked["response_format"]["json_schema"]["schema"], asked["max_tokens"]) == (SCHEMA, 9)
