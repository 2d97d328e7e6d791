"""Anthropic's routes over HTTP: answers, counts, models, errors, and its way to send the token."""

import json

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Request
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.inventory import BackendConfig
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, words

ASK = {"model": "tiny", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
VERSION = {"anthropic-version": "2023-06-01"}
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"


async def test_an_answer_whole_and_streamed_with_where_it_went(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    whole = await site.post(MESSAGES, ASK, headers=VERSION)
    assert [block["text"] for block in whole.json["content"]] == ["Hello world"]
    assert whole.headers["X-Backend-Used"] == "npu"
    assert whole.headers["request-id"] == whole.headers["X-Request-ID"]
    streamed = await site.post(MESSAGES, {**ASK, "stream": True})
    assert streamed.headers["Content-Type"].startswith("text/event-stream")
    assert streamed.body.startswith(b"event: message_start\n")
    assert streamed.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_a_backend_that_fails_before_the_first_word_costs_nothing(serve: Serve) -> None:
    broken = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "gone"))
    site = await serve(broken, FakeBackend("cpu"))
    for stream in (True, False):
        answer = await site.post(MESSAGES, {**ASK, "stream": stream})
        assert (answer.status, answer.headers["X-Backend-Used"]) == (200, "cpu")


async def test_an_answer_that_breaks_goes_on_elsewhere_or_ends_with_an_error_event(serve: Serve) -> None:
    broken = FakeBackend("npu", *words("Hello")[:-1], ProxyError(ErrorKind.UPSTREAM_FAILED, "gone"))
    alone = await serve(broken)
    ended = await alone.post(MESSAGES, {**ASK, "stream": True})
    name, data = ended.body.decode().removesuffix("\n\n").split("\n\n")[-1].split("\n")
    told = json.loads(data.removeprefix("data: "))
    assert (name, told["type"], told["error"]["type"]) == ("event: error", "error", "api_error")
    assert b"message_stop" not in ended.body
    assert b'"Hello"' in ended.body


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        (MESSAGES, {**ASK, "model": "none"}, 404, "not_found_error"),
        (MESSAGES, {**ASK, "max_tokens": 0}, 400, "invalid_request_error"),
        (COUNT, {**ASK, "messages": []}, 400, "invalid_request_error"),
        ("/v1/messages/batches", ASK, 404, "not_found_error"),
    ],
)
async def test_errors_are_in_its_form(serve: Serve, path: str, body: object, status: int, kind: str) -> None:
    site = await serve(FakeBackend("npu"))
    answer = await site.post(path, body)
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)
    assert answer.json["request_id"] == answer.headers["request-id"]


async def test_tokens_are_counted_by_an_engine_with_the_model_in_memory_else_said_to_be_estimated(
    serve: Serve,
) -> None:
    cold, warm = FakeBackend("npu", loaded=()), FakeBackend("cpu", loaded=(LoadedModel("tiny:latest"),))
    cold.tokens, warm.tokens = 5, 7
    site = await serve(cold, warm)
    question = {name: ASK[name] for name in ("model", "messages")}
    counted = await site.post(COUNT, question)
    assert (counted.json, counted.headers["X-Token-Count"]) == ({"input_tokens": 7}, "counted")
    assert not cold.counted, "a count is not worth loading a model"
    warm.tokens = None
    estimated = await site.post(COUNT, question)
    assert estimated.json["input_tokens"] > 0
    assert estimated.headers["X-Token-Count"] == "estimated"
    assert [*cold.requests, *warm.requests] == []


class _Reloading(FakeBackend):
    """While it is asked to count, which it cannot, a reload leaves it alone."""

    site: Site

    async def count_tokens(self, request: Request, model: str) -> int | None:
        self.site.services.fleet.reconcile([BackendConfig(self.spec)])
        return await super().count_tokens(request, model)


async def test_a_backend_that_a_reload_takes_out_meanwhile_is_not_asked_to_count(serve: Serve) -> None:
    both = tuple(_Reloading(name, loaded=(LoadedModel("tiny:latest"),)) for name in ("npu", "cpu"))
    _Reloading.site = await serve(*both)
    told = await _Reloading.site.post(COUNT, {name: ASK[name] for name in ("model", "messages")})
    assert (told.status, told.headers["X-Token-Count"]) == (200, "estimated")
    assert sum(len(each.counted) for each in both) == 1


async def test_the_version_header_tells_its_list_of_models_from_openais(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    listed = (await site.get("/v1/models", headers=VERSION)).json
    assert [(each["type"], each["id"]) for each in listed["data"]] == [("model", "tiny:latest")]
    assert listed["has_more"] is False
    one = (await site.get("/v1/models/tiny", headers=VERSION)).json
    assert (one["type"], one["display_name"]) == ("model", "tiny:latest")
    assert (await site.get("/v1/models")).json["object"] == "list"
    missing = await site.get("/v1/models/none", headers=VERSION)
    assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "secret"}, 200),
        ({"x-api-key": "secret", "Authorization": "Bearer none"}, 200),
        ({"Authorization": "Bearer secret"}, 200),
        ({"x-api-key": "other"}, 401),
        ({}, 401),
    ],
)
async def test_the_token_is_taken_as_an_api_key_on_every_route(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    site = await serve(FakeBackend("npu"), listen=ServerSettings(port=0, token="secret"))
    for path in ("/v1/models", "/api/tags", "/status"):
        assert (await site.get(path, headers=headers)).status == status
    assert (await site.post(MESSAGES, ASK, headers=headers)).status == status
