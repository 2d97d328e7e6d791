"""Reranking, sound and images go to engines as they came, under its name of the model, and come back so."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Usage
from ollama_proxyd.core.faults import Fault, fault_of
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.openai.passed import CALLS, FORMS, parse, parse_form
from ollama_proxyd.edges.backends.backend import EngineBackend
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving, spec_of, streams

RERANK, SPEECH, TRANSCRIBE = "/v1/rerank", "/v1/audio/speech", "/v1/audio/transcriptions"
RANKED = {"model": "m", "results": [{"index": 1, "relevance_score": 0.9}], "usage": {"prompt_tokens": 7}}
SOUND = b"ID3" + bytes(range(256)) * 8
FORM = (
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    + SOUND
    + b'\r\n--X\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--X--\r\n'
)
KIND = "multipart/form-data; boundary=X"


def asked(path: str, **fields: Any) -> Request:
    return parse(CALLS[path], json.dumps({"model": "m", **fields}).encode(), Hints(request_id="r1"))


def uploaded() -> Request:
    return parse_form(FORMS[TRANSCRIBE], KIND, bytearray(FORM), Hints())


async def answer_of(
    engine: FakeEngine, request: Request, model: str, kind: Api = Api.OPENAI, flavor: str = "generic"
) -> list[Event]:
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, kind, flavor), client)
        return [event async for event in backend.answer(request, model)]


async def failure_of(engine: FakeEngine, request: Request) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await answer_of(engine, request, "m")
    return caught.value


async def test_a_ranking_passes_with_its_tokens() -> None:
    engine = FakeEngine({"POST /v1/rerank": Says(RANKED)})
    request = asked(RERANK, query="q", documents=["a", "b"], top_n=1, own_field={"kept": True})
    accepted, delta, finished = await answer_of(engine, request, "m")
    assert isinstance(accepted, Accepted)
    assert isinstance(delta, Delta)
    assert json.loads(delta.frame or b"") == RANKED
    assert finished == Finished(usage=Usage(prompt_tokens=7))
    assert engine.asked[0].body == request.body
    assert engine.asked[0].headers["X-Request-ID"] == "r1"


@pytest.mark.parametrize(
    ("kind", "flavor", "path"), [(Api.OPENAI, "lemonade", "/api/v1"), (Api.OLLAMA, "ollama", "/v1")]
)
async def test_an_engine_is_asked_where_its_openai_routes_are(kind: Api, flavor: str, path: str) -> None:
    engine = FakeEngine({f"POST {path}/rerank": Says(RANKED)})
    await answer_of(engine, asked(RERANK), "m", kind, flavor)
    assert [each.path for each in engine.asked] == [f"{path}/rerank"]


async def test_another_name_of_the_route_is_tried_before_it_counts_as_absent() -> None:
    engine = FakeEngine({"POST /v1/reranking": Says(RANKED)})
    assert len(await answer_of(engine, asked(RERANK), "m")) == 3
    without = FakeEngine({})
    failure = await failure_of(without, asked(RERANK))
    assert fault_of(failure) is Fault.NO_OPERATION
    assert "has nothing at /v1/reranking" in failure.message
    assert failure.detail is None
    assert [each.path for each in without.asked] == ["/v1/rerank", "/v1/reranking"]


async def test_the_model_is_called_by_the_engines_name_and_answered_by_the_clients() -> None:
    engine = FakeEngine(
        {"POST /v1/rerank": Says({**RANKED, "model": "m:latest"}), f"POST {TRANSCRIBE}": Says({"text": "hi"})}
    )
    _, delta, _ = await answer_of(engine, asked(RERANK), "m:latest")
    assert isinstance(delta, Delta)
    assert (engine.asked[0].json["model"], json.loads(delta.frame or b"")["model"]) == ("m:latest", "m")
    await answer_of(engine, uploaded(), "whisper-large")
    got = engine.asked[1]
    assert got.body == FORM.replace(b"\r\nwhisper\r\n", b"\r\nwhisper-large\r\n")
    assert got.headers["Content-Length"] == str(len(got.body))


async def test_a_form_arrives_as_it_was_sent() -> None:
    engine = FakeEngine({f"POST {TRANSCRIBE}": Says(b"1\n00:00 --> 00:01\nhi", headers={"Content-Type": "text/plain"})})
    accepted, delta, _ = await answer_of(engine, uploaded(), "whisper")
    assert engine.asked[0].body == FORM
    assert engine.asked[0].headers["Content-Type"] == KIND
    assert isinstance(accepted, Accepted)
    assert isinstance(delta, Delta)
    assert (accepted.content_type, delta.frame) == ("text/plain", b"1\n00:00 --> 00:01\nhi")


async def test_speech_comes_piece_by_piece_with_its_type() -> None:
    engine = FakeEngine({f"POST {SPEECH}": streams(SOUND, SOUND, content_type="audio/mpeg; rate=24000")})
    accepted, *deltas, finished = await answer_of(engine, asked(SPEECH, input="hello", voice="x"), "m")
    assert isinstance(accepted, Accepted)
    assert accepted.content_type == "audio/mpeg; rate=24000"
    assert b"".join(each.frame or b"" for each in deltas if isinstance(each, Delta)) == SOUND * 2
    assert finished == Finished()


@pytest.mark.parametrize("kind", ["image/svg+xml", "application/x-unknown", "", "text/css"])
async def test_a_type_that_a_browser_might_run_is_told_to_be_bytes(kind: str) -> None:
    engine = FakeEngine({f"POST {SPEECH}": streams(b"<x/>", content_type=kind)})
    accepted, *_ = await answer_of(engine, asked(SPEECH), "m")
    assert isinstance(accepted, Accepted)
    assert accepted.content_type == "application/octet-stream"


async def test_a_page_is_no_answer() -> None:
    page = FakeEngine({f"POST {SPEECH}": Says(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})})
    failure = await failure_of(page, asked(SPEECH))
    assert failure.kind is ErrorKind.UPSTREAM_FAILED
    assert fault_of(failure) is not None


@pytest.mark.parametrize(
    ("status", "said", "fault"),
    [
        (
            501,
            {"error": {"message": "This server does not support reranking. Start it with `--reranking`"}},
            Fault.NO_OPERATION,
        ),
        (404, {"detail": "Not Found"}, Fault.NO_OPERATION),
        (405, {"detail": "Method Not Allowed"}, Fault.NO_OPERATION),
        (400, {"error": "m does not support speech"}, Fault.NO_OPERATION),
        (404, {"error": "model 'm' not found"}, Fault.MODEL_GONE),
        (400, {"error": "voice is required"}, None),
    ],
)
async def test_an_engine_that_lacks_it_is_told_from_a_wrong_request(
    status: int, said: Any, fault: Fault | None
) -> None:
    engine = FakeEngine({f"POST {SPEECH}": Says(said, status)})
    assert fault_of(await failure_of(engine, asked(SPEECH))) is fault


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (Says(b""), "answered with nothing"),
        (Says(b" \n", headers={"Content-Type": "application/json"}), "answered with nothing"),
        (Says(b"", 204), "answered with nothing"),
        (Says(b"null"), "not in OpenAI's form"),
        (Says(b"[1]"), "not in OpenAI's form"),
        (Says(b'"ok"', headers={"Content-Type": "application/json"}), "not in OpenAI's form"),
        (Says(b'{"results":[{"index":0,', headers={"Content-Type": "application/json"}), "not in OpenAI's form"),
        (Says({"error": {"message": "out of memory"}}), "out of memory"),
        (Says({"error": "out of memory", "results": []}), "out of memory"),
        (Says({"detail": "out of memory"}), "out of memory"),
        (Says({"object": "error", "message": "out of memory"}), "out of memory"),
    ],
)
async def test_what_is_no_ranking_is_a_failure(says: Says, told: str) -> None:
    error = await failure_of(FakeEngine({"POST /v1/rerank": says}), asked(RERANK, query="q", documents=["a"]))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert told in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'[{"index":0,"score":0.5}]',
        b"[]",
        b'{"results":[{"index":0,"relevance_score":NaN}]}',
        b'{"results":[{"index":0}],"error":"truncated","detail":"a warning"}',
        b'{"results":[],"error":null}',
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
async def test_a_ranking_of_another_form_passes(body: bytes, kind: str) -> None:
    engine = FakeEngine({"POST /v1/rerank": Says(body, headers={"Content-Type": kind} if kind else {})})
    accepted, delta, _ = await answer_of(engine, asked(RERANK, query="q", documents=["a"]), "m")
    assert isinstance(accepted, Accepted)
    assert accepted.content_type == "application/json"
    assert isinstance(delta, Delta)
    assert delta.frame == body


@pytest.mark.parametrize(
    "says", [Says(b"", headers={"Content-Type": "audio/mpeg"}), streams(content_type="audio/mpeg")]
)
async def test_silence_is_no_speech(says: Any) -> None:
    error = await failure_of(FakeEngine({f"POST {SPEECH}": says}), asked(SPEECH, input="x", voice="v"))
    assert (error.kind, "answered with nothing" in error.message) == (ErrorKind.UPSTREAM_FAILED, True)


async def test_an_error_in_the_place_of_speech_is_a_failure() -> None:
    error = await failure_of(
        FakeEngine({f"POST {SPEECH}": Says({"error": "no such voice"})}), asked(SPEECH, input="x", voice="v")
    )
    assert (error.kind, error.message) == (ErrorKind.UPSTREAM_FAILED, "no such voice")


async def test_a_recording_without_words_is_an_answer() -> None:
    engine = FakeEngine({f"POST {TRANSCRIBE}": Says({"text": ""})})
    _, delta, _ = await answer_of(engine, uploaded(), "whisper")
    assert isinstance(delta, Delta)
    assert json.loads(delta.frame or b"") == {"text": ""}
