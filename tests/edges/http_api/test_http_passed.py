"""Reranking, sound and images: routed like all else, and passed on whatever they are."""

import asyncio
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Answer, Serve, Site
from tests.fakes import FakeBackend

ASKED = {"model": "tiny", "query": "q", "documents": ["a"]}
RANKED = (Accepted(content_type="application/json"), Delta(frame=b'{"results":[]}'), Finished(usage=Usage(7)))
SOUND = bytes(range(256)) * 16
SPOKEN = (Accepted(content_type="audio/mpeg"), Delta(frame=SOUND), Delta(frame=SOUND), Finished())
ABSENT = ProxyError(ErrorKind.UPSTREAM_REJECTED, "there is no such route", status=404, detail='{"detail":"Not Found"}')


def form(**fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", SOUND, filename="a.mp3", content_type="audio/mpeg")
    for name, value in fields.items():
        made.add_field(name, value)
    return made


async def heard(site: Site, path: str = "/v1/audio/transcriptions", **fields: str) -> Answer:
    return await site.ask("POST", path, data=form(**(fields or {"model": "tiny"})))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/reranking", "/v1/reranking"])
async def test_a_ranking_is_routed_and_counted(serve: Serve, path: str) -> None:
    npu = FakeBackend("npu", *RANKED)
    site = await serve(npu)
    answer = await site.post(path, ASKED)
    assert (answer.status, answer.json) == (200, {"results": []})
    assert answer.headers["X-Backend-Used"] == "npu"
    assert "for ranking about" in answer.headers["X-Routing-Reason"]
    assert float(answer.headers["X-Energy-Joules"]) >= 0
    assert npu.requests[0][0].operation is Operation.RERANKING
    today = (await site.get("/status")).json["today"]
    assert (today["requests"], today["prompt_tokens"], today["completion_tokens"]) == (1, 7, 0)


async def test_code_between_two_pieces_is_asked_for_as_editors_do(serve: Serve) -> None:
    """llama.cpp's editors name no model, and know the route at the root alone."""
    npu = FakeBackend("npu", Accepted(content_type="application/json"), Delta(frame=b'{"content":"x"}'), Finished())
    answer = await (await serve(npu)).post("/infill", {"input_prefix": "def ", "input_suffix": "():"})
    assert (answer.status, answer.json) == (200, {"content": "x"})
    request, model = npu.requests[0]
    assert (request.operation, request.endpoint, model) == (Operation.INFILL, "/infill", "tiny:latest")


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/audio/transcriptions", Operation.TRANSCRIPTION),
        ("/v1/audio/translations", Operation.TRANSLATION),
        ("/v1/images/edits", Operation.IMAGE),
    ],
)
async def test_a_form_is_routed_by_its_field(serve: Serve, path: str, operation: Operation) -> None:
    npu = FakeBackend("npu", Accepted(content_type="text/plain; charset=utf-8"), Delta(frame=b"hi"), Finished())
    answer = await heard(await serve(npu), path)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"hi", "text/plain; charset=utf-8")
    request, model = npu.requests[0]
    assert (request.operation, model, request.stream) == (operation, "tiny:latest", False)
    assert request.upload is not None
    assert SOUND in request.upload.form


async def test_speech_streams_with_its_own_type(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *SPOKEN))
    answer = await site.post("/v1/audio/speech", {"model": "tiny", "input": "hello", "voice": "x"})
    assert (answer.body, answer.headers["Content-Type"]) == (SOUND * 2, "audio/mpeg")
    assert "for speaking about" in answer.headers["X-Routing-Reason"]


async def test_bytes_that_break_off_do_not_look_whole(serve: Serve) -> None:
    broken = ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke")
    site = await serve(FakeBackend("npu", *SPOKEN[:2], broken))
    with pytest.raises(aiohttp.ClientPayloadError):
        await site.post("/v1/audio/speech", {"model": "tiny", "input": "hello"})


async def test_events_that_break_off_end_with_an_error(serve: Serve) -> None:
    begun = (Accepted(content_type="text/event-stream"), Delta(frame=b'data: {"b64_json":""}\n\n'))
    site = await serve(FakeBackend("npu", *begun, ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke")))
    answer = await site.post("/v1/images/generations", {"model": "tiny", "prompt": "a cat", "stream": True})
    assert b'data: {"error"' in answer.body


@pytest.mark.parametrize("begun", [b'data: {"b64_json":"aG', b"data: {}\n", b"data: {}\r\n\r\n", b"data: {}\n\n"])
async def test_the_error_is_an_event_of_its_own_wherever_the_bytes_before_it_ended(serve: Serve, begun: bytes) -> None:
    broken = ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke")
    site = await serve(FakeBackend("npu", Accepted(content_type="text/event-stream"), Delta(frame=begun), broken))
    answer = await site.post("/v1/audio/speech", {"model": "tiny", "input": "hi", "voice": "a", "stream_format": "sse"})
    *_, last, rest = answer.body.replace(b"\r\n", b"\n").split(b"\n\n")
    assert rest == b""
    assert last.startswith(b'data: {"error"')


@pytest.mark.parametrize("failure", [ABSENT, ProxyError(ErrorKind.UPSTREAM_FAILED, "no such thing", status=501)])
async def test_a_holder_without_the_call_is_passed_over_for_it_alone(serve: Serve, failure: ProxyError) -> None:
    igpu, npu = FakeBackend("igpu", failure), FakeBackend("npu", *RANKED)
    site = await serve(igpu, npu)
    for _ in range(3):
        assert (await site.post("/v1/rerank", ASKED)).headers["X-Backend-Used"] == "npu"
    assert len(igpu.requests) == 1  # what it lacks is remembered
    for operation, chosen in [("reranking", "npu"), ("embedding", "igpu"), ("transcription", "igpu")]:
        told = await site.post("/routing/explain", {"model": "tiny", "operation": operation})
        assert told.json["backend"] == chosen


async def test_what_is_known_of_a_models_abilities_refuses_nothing(serve: Serve) -> None:
    npu = FakeBackend("npu", *RANKED, models=[Model("tiny", capabilities=frozenset({"embedding"}))])
    assert (await (await serve(npu)).post("/v1/rerank", ASKED)).status == 200


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [({"language": "de"}, 400, "model is required"), ({"model": "unknown"}, 404, "not found")],
)
async def test_an_error_is_in_openais_words(serve: Serve, fields: dict[str, str], status: int, told: str) -> None:
    answer = await heard(await serve(), **fields)
    assert answer.status == status
    assert told in answer.json["error"]["message"]


async def test_other_bodies_are_refused(serve: Serve) -> None:
    site = await serve()
    assert (await site.post("/v1/audio/transcriptions", {"model": "tiny"})).status == 415
    assert (await site.ask("POST", "/v1/rerank", data=b"[]")).status == 400
    small = await serve(listen=ServerSettings(port=0, drain_s=0.2, max_body_bytes=1024))
    assert (await heard(small)).status == 413


async def test_many_at_once_with_hints_all_come(serve: Serve) -> None:
    npu, igpu = FakeBackend("npu", *RANKED), FakeBackend("igpu", *RANKED)
    site = await serve(npu, igpu)
    headers: Any = {"X-Target-Backend": "igpu", "X-Priority": "low"}
    answers = await asyncio.gather(*(site.post("/v1/rerank", ASKED, headers=headers) for _ in range(20)))
    assert {(each.status, each.headers["X-Backend-Used"]) for each in answers} == {(200, "igpu")}
    assert len(igpu.requests) == 20
