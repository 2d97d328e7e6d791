"""What an engine reports in place of an answer, in the forms of many engines and gateways."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.base import BlockDecoder
from ollama_proxyd.dialects.ollama.decode import LineDecoder
from ollama_proxyd.dialects.ollama.decode import decode_answer as decode_ollama
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, decode_answer
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.ending import peek_answer
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.dialects.openai.vectors import decode_embeddings

WORDS = "CUDA out of memory"
PROBLEM = {"loc": ["body"], "msg": WORDS, "type": "server_error"}
REPORTS: list[Any] = [
    {"error": WORDS},
    {"error": {"message": WORDS, "code": 507}},
    {"error": [WORDS]},
    {"error": [{"message": WORDS}]},
    {"error": {"error": {"detail": WORDS}}},
    {"error": {"message": {"error": {"message": WORDS}}}},
    {"error": True, "message": WORDS},
    {"errors": [{"code": 1, "message": WORDS}], "success": False, "result": None},
    {"detail": WORDS},
    {"detail": [PROBLEM]},
    {"object": "error", "message": WORDS},
    {"status": "error", "message": WORDS},
    {"status": 500, "message": WORDS},
    {"code": 500, "msg": WORDS},
    {"success": False, "message": WORDS},
    {"error_message": WORDS},
    {"code": "500", "message": WORDS},
    {"status_code": 500, "message": WORDS},
    {"statusCode": 500, "message": WORDS, "error": "Internal Server Error"},
    {"status": 500, "error": "Internal Server Error", "message": WORDS, "path": "/v1/chat/completions"},
    {"title": WORDS, "status": 500, "detail": None},
]
"""Of plain engines, vLLM, FastAPI, and gateways."""
NOT_REPORTED: list[Any] = [
    {"error": ""},
    {"error": {}, "errors": []},
    {"status": "processing", "message": "warming up"},
    {"status": 200},
    {"code": "0", "message": "ok"},
    {"code": "20000", "message": "ok"},
    {"detail": None},
]
OPENAI_CHAT = parse_chat(b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}', Hints())


def chunk(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None, **choice}]}


FAILED_CHUNKS = [
    chunk(finish_reason="error"),
    chunk(finish_reason="abort"),
    chunk(error={"message": WORDS}),
    chunk() | {"error": {"message": WORDS}},
]


def fails(decoder: BlockDecoder, *blocks: bytes) -> ProxyError:
    def read() -> None:
        for block in blocks:
            decoder.feed(block)
        decoder.finish()

    with pytest.raises(ProxyError) as caught:
        read()
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    return caught.value


def event(told: Any) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def line(told: Any) -> bytes:
    return json.dumps(told).encode() + b"\n"


def test_a_failure_that_is_told_in_two_members_is_told_once() -> None:
    told = fails(ChunkDecoder(), event({"error": WORDS, "message": WORDS})).message
    assert told.count(WORDS) == 1


@pytest.mark.parametrize("report", REPORTS)
def test_the_words_of_a_report_are_those_of_the_failure(report: Any) -> None:
    text = json.dumps(report).encode()
    assert WORDS in fails(ChunkDecoder(), event(chunk()), event(report), b"data: [DONE]\n\n").message
    said = line({"message": {"role": "assistant", "content": "a"}, "done": False})
    assert WORDS in fails(LineDecoder(), said, line(report)).message
    for decode in (decode_answer, decode_ollama):
        with pytest.raises(ProxyError, match=WORDS):
            decode(text)
    ending = peek_answer(text)
    assert ending.error is not None
    assert WORDS in ending.error.message


@pytest.mark.parametrize("told", NOT_REPORTED)
def test_an_object_that_reports_nothing_ends_no_answer(told: Any) -> None:
    decoder = ChunkDecoder()
    found = [each for block in (chunk(), told, chunk(finish_reason="stop")) for each in decoder.feed(event(block))]
    assert found == [Delta(text="a"), Delta(text="a")]
    decoder.finish()


@pytest.mark.parametrize("failed", FAILED_CHUNKS)
def test_an_answer_that_its_engine_could_not_end_has_failed(failed: Any) -> None:
    fails(ChunkDecoder(), event(chunk()), event(failed), b"data: [DONE]\n\n")
    form = OpenAI().form(OPENAI_CHAT)
    assert not form.plain_frames(event(failed)), "an engine's own frames are looked at for it"
    assert OpenAI().stream_ending(event(failed), 1).error is not None


@pytest.mark.parametrize("reason", ["error", "abort"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_an_ollamas_answer_that_ends_with_its_failure_has_failed(path: str, reason: str) -> None:
    words = {"message": {"role": "assistant", "content": "a"}} if path == "/api/chat" else {"response": "a"}
    end = line({"model": "m", **words, "done": True, "done_reason": reason})
    assert reason in fails(LineDecoder(), end).message
    with pytest.raises(ProxyError, match=reason):
        decode_ollama(end)
    asked = b'{"model":"m","prompt":"x","messages":[{"role":"user","content":"x"}]}'
    form = Ollama().form(Ollama.calls[path](asked, Hints()))
    assert not form.plain_frames(end), "an engine's own lines are looked at for it"
    assert form.plain_frames(end.replace(reason.encode(), b"stop"))
    assert Ollama().stream_ending(end, 1).error is not None


def test_a_report_in_place_of_vectors_tells_its_words() -> None:
    wanted = OpenAI.calls["/v1/embeddings"](b'{"model":"m","input":"x"}', Hints()).content()
    with pytest.raises(ProxyError, match=WORDS):
        decode_embeddings(json.dumps({"detail": WORDS}).encode(), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["error", "ERROR", "Error"])
def test_an_event_named_error_is_one_in_any_case(name: str) -> None:
    assert fails(ChunkDecoder(), event(chunk()), f"event: {name}\ndata: {WORDS}\n\n".encode()).message == WORDS
