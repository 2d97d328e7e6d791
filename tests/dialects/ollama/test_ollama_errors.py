"""Every failure has a status and a sentence in Ollama's form."""

import msgspec
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.statuses import STATUSES
from ollama_proxyd.dialects.ollama.errors import not_found, render_error
from ollama_proxyd.dialects.ollama.options import OPTION_TYPE

ENGINES_WORDS = '{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}'


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_a_status_and_says_its_message(kind: ErrorKind) -> None:
    status, body = render_error(ProxyError(kind, 'a sentence <with> "marks"'))
    assert status == STATUSES[kind]
    assert 400 <= status < 600
    assert msgspec.json.decode(body) == {"error": 'a sentence <with> "marks"'}


def test_an_engines_own_error_goes_on_as_a_string() -> None:
    for kind, own, status in ((ErrorKind.UPSTREAM_REJECTED, 400, 400), (ErrorKind.UPSTREAM_FAILED, 500, 502)):
        error = ProxyError(kind, "rejected", status=own, detail=ENGINES_WORDS + "\n")
        assert render_error(error) == (status, msgspec.json.encode({"error": ENGINES_WORDS}))


def test_an_ollama_backends_own_error_goes_on_as_it_is() -> None:
    detail = '{"error":"no such voice","hint":"https://example.invalid"}'
    error = ProxyError(ErrorKind.UPSTREAM_REJECTED, "rejected", status=422, detail=detail)
    assert render_error(error) == (422, detail.encode())


@pytest.mark.parametrize("detail", [None, "", "<html>", "[1]", "out of memory", "[" * 100_000])
def test_anything_else_that_a_backend_says_is_not_shown_raw(detail: str | None) -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend answered 503", status=503, detail=detail)
    assert render_error(error) == (503, b'{"error":"the backend answered 503"}')


def test_an_option_of_the_wrong_type_is_a_500_as_in_ollama() -> None:
    assert render_error(ProxyError(ErrorKind.INVALID_REQUEST, "x", code=OPTION_TYPE))[0] == 500


@pytest.mark.parametrize(
    ("endpoint", "model", "start"),
    [
        ("chat", "nope", "model 'nope' not found"),
        ("generate", "nope", "model 'nope' not found"),
        ("embed", 'no"pe', 'model "no\\"pe" not found, try pulling it first'),
        ("embeddings", "nope", 'model "nope" not found, try pulling it first'),
        ("show", "nope", "model 'nope:latest' not found"),
        ("show", "host:5000/nope", "model 'host:5000/nope:latest' not found"),
        ("show", "nope:1b", "model 'nope:1b' not found"),
    ],
)
def test_a_missing_model_is_told_in_each_calls_own_words_with_what_there_is(
    endpoint: str, model: str, start: str
) -> None:
    error = ProxyError(ErrorKind.MODEL_NOT_FOUND, "model is not here; available: a, b", param="model")
    worded = not_found(endpoint, model, error)
    assert worded.message == f"{start}; available: a, b"
    assert worded.param == "model"


def test_other_errors_are_not_worded_anew() -> None:
    for error in (
        ProxyError(ErrorKind.UNAVAILABLE, "held only by npu, which is down"),
        ProxyError(ErrorKind.MODEL_NOT_FOUND, "model 'nope' not found; available: a"),
    ):
        assert not_found("chat", "nope", error) is error
