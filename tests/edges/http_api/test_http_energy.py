"""What an answer cost is told with it: in headers or trailer fields, and in its last object where that is asked for."""

import asyncio
import json
from typing import Any

import pytest

from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from tests.edges.http_api.conftest import CHAT, Serve, Site
from tests.fakes import FakeBackend, FakeClock, frames

INCLUDED = {"X-Include-Energy": "true"}
JOULES = 2.0 * 3.0
"""Two seconds of the neural processor."""


async def slow(serve: Serve) -> Site:
    clock = FakeClock()
    steps = (Accepted(), Delta(text="Hello"), lambda: clock.advance(2.0), Finished(usage=Usage(3, 5)))
    return await serve(FakeBackend("npu", *steps), clock=clock)


async def raw(site: Site, body: dict[str, Any], *headers: str) -> str:
    """All that a client gets on its connection."""
    host, port = site.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: {host}:{port}", f"Content-Length: {len(content)}"]
    lines += ["Content-Type: application/json", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode() + content)
    answer = await reader.read()
    writer.close()
    return answer.decode()


COST = {"energy_j": JOULES, "energy_source": "estimated", "energy_error_percent": 50}
"""Estimates are taken to be off by up to half."""


async def test_a_whole_answer_has_what_it_cost_in_its_headers(serve: Serve) -> None:
    headers = (await (await slow(serve)).chat()).headers
    assert (headers["X-Energy-Joules"], headers["X-Energy-Source"]) == (f"{JOULES:.2f}", "estimated")
    assert headers["X-Energy-Error-Percent"] == "50"


async def test_a_stream_ends_with_what_it_cost_where_the_client_takes_trailers(serve: Serve) -> None:
    site = await slow(serve)
    answer = await raw(site, {**CHAT, "stream": True}, "TE: trailers")
    assert "\r\nTrailer: X-Energy-Joules, X-Energy-Source, X-Energy-Error-Percent\r\n" in answer
    cost = f"X-Energy-Joules: {JOULES:.2f}\r\nX-Energy-Source: estimated\r\nX-Energy-Error-Percent: 50"
    assert answer.endswith(f"\r\n0\r\n{cost}\r\n\r\n")


async def test_a_stream_has_no_trailers_for_a_client_that_takes_none(serve: Serve) -> None:
    answer = await raw(await slow(serve), {**CHAT, "stream": True})
    assert answer.endswith("\r\n0\r\n\r\n")
    assert "X-Energy-Joules" not in answer


async def test_a_connection_goes_on_after_trailers(serve: Serve) -> None:
    site = await slow(serve)
    for _ in range(2):
        assert (await site.chat({"TE": "trailers"}, stream=True)).body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_openais_last_object_has_it_where_the_client_asks(serve: Serve, *, stream: bool) -> None:
    body = (await (await slow(serve)).chat(INCLUDED, stream=stream)).body
    last = body.split(b"\n\n")[-3].removeprefix(b"data: ") if stream else body
    usage = json.loads(last)["usage"]
    assert (usage["completion_tokens"], usage["energy_j"], usage["energy_source"]) == (5, JOULES, "estimated")
    assert usage["energy_error_percent"] == 50


@pytest.mark.parametrize("stream", [True, False])
async def test_ollamas_last_object_has_it_where_the_client_asks(serve: Serve, *, stream: bool) -> None:
    site = await slow(serve)
    answer = await site.post("/api/chat", {**CHAT, "stream": stream}, headers=INCLUDED)
    last = json.loads(answer.body.splitlines()[-1])
    assert (last["done"], last["usage"]) == (True, COST)


async def test_nobody_else_gets_it(serve: Serve) -> None:
    site = await slow(serve)
    assert b"energy" not in (await site.chat()).body
    assert b"energy" not in (await site.post("/api/chat", {**CHAT, "stream": False})).body
    passed = await serve(FakeBackend("npu", *frames(b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n")))
    assert b"energy" not in (await passed.chat(stream=True)).body
