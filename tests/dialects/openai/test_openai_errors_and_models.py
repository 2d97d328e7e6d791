"""Errors and lists of models as OpenAI clients read them."""

import json

import msgspec
import pytest

from ollama_proxyd.core.errors import TOO_LONG, ErrorKind, ProxyError
from ollama_proxyd.dialects.anthropic.errors import render_error as render_anthropic
from ollama_proxyd.dialects.openai.errors import TABLE, render_error, stream_error
from ollama_proxyd.dialects.openai.models import render_list, render_one


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_status_and_a_type(kind: ErrorKind) -> None:
    status, body = render_error(ProxyError(kind, "what went wrong", param="field"))
    assert 400 <= status < 600
    error = msgspec.json.decode(body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["message"], error["param"]) == ("what went wrong", "field")
    assert error["type"].endswith("_error")


def test_the_table_has_no_kind_twice_and_none_too_many() -> None:
    assert set(TABLE) == set(ErrorKind)


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        (ErrorKind.INVALID_REQUEST, 400, "invalid_request_error"),
        (ErrorKind.UNSUPPORTED, 400, "invalid_request_error"),
        (ErrorKind.MODEL_NOT_FOUND, 404, "not_found_error"),
        (ErrorKind.BACKEND_NOT_FOUND, 404, "not_found_error"),
        (ErrorKind.METHOD_NOT_ALLOWED, 405, "invalid_request_error"),
        (ErrorKind.TOO_LARGE, 413, "invalid_request_error"),
        (ErrorKind.OVERLOADED, 429, "rate_limit_error"),
        (ErrorKind.UPSTREAM_FAILED, 502, "api_error"),
        (ErrorKind.UNAVAILABLE, 503, "api_error"),
        (ErrorKind.UPSTREAM_TIMEOUT, 504, "api_error"),
    ],
)
def test_kinds_have_the_statuses_and_types_that_clients_know(kind: ErrorKind, status: int, word: str) -> None:
    told, body = render_error(ProxyError(kind, "m"))
    assert (told, msgspec.json.decode(body)["error"]["type"]) == (status, word)


def test_a_model_that_nobody_holds_reads_as_with_ollama() -> None:
    _, body = render_error(ProxyError(ErrorKind.MODEL_NOT_FOUND, "model 'nope' not found"))
    expected = {"message": "model 'nope' not found", "type": "not_found_error", "param": None, "code": None}
    assert msgspec.json.decode(body) == {"error": expected}


def test_an_errors_own_code_comes_first() -> None:
    _, body = render_error(ProxyError(ErrorKind.UNSUPPORTED, "m", code="finer"))
    assert msgspec.json.decode(body)["error"]["code"] == "finer"


def test_a_backend_that_has_too_much_to_do_is_told_as_our_own_overload() -> None:
    _, body = render_error(ProxyError(ErrorKind.UPSTREAM_FAILED, "m", status=429))
    error = msgspec.json.decode(body)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "overloaded")


ENGINES_OWN = (
    '{"error": {"code":400,"message":"too long","type":"exceed_context_size_error",\n "n_prompt_tokens":9,"n_ctx":4}}\n'
)


@pytest.mark.parametrize(("kind", "own"), [(ErrorKind.UPSTREAM_REJECTED, 400), (ErrorKind.UPSTREAM_FAILED, 500)])
def test_an_engines_own_error_in_openais_form_is_passed_on_unchanged(kind: ErrorKind, own: int) -> None:
    error = ProxyError(kind, "our words", status=own, detail=ENGINES_OWN)
    assert render_error(error)[1] == ENGINES_OWN.encode()
    line, end = stream_error(error).split(b"\n", 1)
    assert end == b"\n"
    assert msgspec.json.decode(line.removeprefix(b"data: ")) == msgspec.json.decode(ENGINES_OWN)


@pytest.mark.parametrize(
    "detail",
    [None, "", "<html>", "[" * 100_000, '{"error":"words"}', '{"error":{"code":5}}', '{"error":{"message":7}}', "[1]"],
)
def test_anything_else_that_a_backend_says_is_told_in_our_form(detail: str | None) -> None:
    _, body = render_error(ProxyError(ErrorKind.UPSTREAM_FAILED, "our words", status=500, detail=detail))
    assert list(msgspec.json.decode(body)["error"]) == ["message", "type", "param", "code"]
    assert msgspec.json.decode(body)["error"]["message"] == "our words"


def test_a_prompt_that_is_too_long_has_the_code_and_the_words_by_which_agents_shorten_it() -> None:
    words = "the request exceeds the available context size"
    own = {"error": {"code": 400, "message": words, "type": "exceed_context_size_error", "n_ctx": 4096}}
    for detail in (msgspec.json.encode(own).decode(), "too long", None):
        error = ProxyError(ErrorKind.UPSTREAM_REJECTED, words, status=400, detail=detail, code=TOO_LONG)
        for body in (render_error(error)[1], stream_error(error)[6:]):
            told = msgspec.json.decode(body)["error"]
            assert (told["code"], told["message"]) == ("context_length_exceeded", words)
        assert msgspec.json.decode(render_anthropic(error)[1])["error"]["message"] == f"prompt is too long: {words}"
    theirs = json.dumps(
        {"type": "error", "error": {"type": "invalid_request_error", "message": "maximum context length"}}
    )
    error = ProxyError(ErrorKind.UPSTREAM_REJECTED, words, status=400, detail=theirs, code=TOO_LONG)
    assert msgspec.json.decode(render_anthropic(error)[1])["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: maximum context length",
    }
    once = ProxyError(ErrorKind.UPSTREAM_REJECTED, "Prompt is too long: 9 > 4", status=400, code=TOO_LONG)
    assert msgspec.json.decode(render_anthropic(once)[1])["error"]["message"] == "Prompt is too long: 9 > 4"


def test_each_model_is_listed_with_the_backends_that_hold_it() -> None:
    rows = [("tiny:latest", 1_795_175_904, ("npu", "cpu")), ("hf.co/meta/llama", 5, ["igpu"])]
    assert msgspec.json.decode(render_list(rows)) == {
        "object": "list",
        "data": [
            {
                "id": "tiny:latest",
                "object": "model",
                "created": 1_795_175_904,
                "owned_by": "library",
                "backends": ["npu", "cpu"],
            },
            {"id": "hf.co/meta/llama", "object": "model", "created": 5, "owned_by": "meta", "backends": ["igpu"]},
        ],
    }
    assert msgspec.json.decode(render_one(rows[1]))["id"] == "hf.co/meta/llama"
