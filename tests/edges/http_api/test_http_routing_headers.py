"""The response headers, on every answer."""

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished
from ollama_proxyd.edges.http_api.routing_headers import MOST_CHARACTERS, NAMES, header_text
from tests.edges.http_api.conftest import CHAT, Serve
from tests.fakes import FakeBackend, reference_fleet

PATHS = [
    ("GET", "/"),
    ("GET", "/v1/models"),
    ("GET", "/api/tags"),
    ("GET", "/health"),
    ("GET", "/backends"),
    ("GET", "/metrics"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/api/chat"),
    ("GET", "/nowhere"),
    ("GET", "/api/nowhere"),
    ("DELETE", "/v1/models"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_every_answer_has_every_header(serve: Serve, method: str, path: str) -> None:
    site = await serve()
    answer = await site.ask(method, path, json=CHAT if method == "POST" else None)
    for name in (*NAMES, "X-Request-ID"):
        assert len(answer.headers.getall(name)) == 1, name
    assert answer.headers["Server"].startswith("ollama-proxyd/")


async def test_a_routed_answer_says_where_it_went_and_what_that_was_expected_to_cost(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    headers = (await site.chat()).headers
    assert headers["X-Backend-Used"] == "igpu"
    assert headers["X-Routing-Reason"].startswith("Balanced: igpu ")
    assert headers["X-Estimated-Latency-Ms"] == "350"
    assert headers["X-Estimated-Power-W"] == "12.0"
    assert float(headers["X-Estimated-Energy-J"]) > 0
    assert headers["X-Alternatives"].split(",") == ["nvidia", "npu", "cpu"]
    assert "X-Ignored-Fields" not in headers


async def test_a_name_that_no_header_can_have_is_written_in_plain_letters(serve: Serve) -> None:
    """Paired machines are called as their owners like."""
    site = await serve(FakeBackend("npu"), FakeBackend("büro/gpu"))
    assert (await site.chat()).headers["X-Alternatives"] == "buro/gpu"


async def test_a_stream_has_the_same_headers_but_for_what_it_cost(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    whole, stream = await site.chat(), await site.chat(stream=True)
    cost = {"X-Energy-Joules", "X-Energy-Source", "X-Energy-Error-Percent"}
    assert {name for name in whole.headers if name.startswith("X-")} - cost == {
        name for name in stream.headers if name.startswith("X-") and name != "X-Accel-Buffering"
    }
    assert stream.headers["X-Backend-Used"] == "igpu"


async def test_the_clients_request_id_comes_back_on_success_and_on_failure(serve: Serve) -> None:
    site = await serve()
    named = {"X-Request-ID": "mine-1"}
    assert (await site.chat(named)).headers["X-Request-ID"] == "mine-1"
    assert (await site.chat(named, stream=True)).headers["X-Request-ID"] == "mine-1"
    assert (await site.get("/nowhere", headers=named)).headers["X-Request-ID"] == "mine-1"
    assert site.services.ledger.recent()[0].request_id == "mine-1"


async def test_a_bad_request_id_is_a_400_that_is_not_echoed(serve: Serve) -> None:
    site = await serve()
    answer = await site.chat({"X-Request-ID": "x" * 200})
    assert answer.status == 400
    assert answer.json["error"]["param"] == "X-Request-ID"
    assert len(answer.headers["X-Request-ID"]) == 16


async def test_an_answer_of_the_proxy_itself_says_that_nothing_was_routed(serve: Serve) -> None:
    headers = (await (await serve()).get("/version")).headers
    assert headers["X-Backend-Used"] == "none"
    assert headers["X-Routing-Reason"].startswith("not routed: ")
    assert headers["X-Estimated-Energy-J"] == "unknown"


async def test_an_error_before_routing_says_why_in_the_reason(serve: Serve) -> None:
    headers = (await (await serve()).chat({"X-Priority": "urgent"})).headers
    assert headers["X-Backend-Used"] == "none"
    assert headers["X-Routing-Reason"].startswith("not routed: X-Priority must be one of")


async def test_a_refusal_carries_the_decisions_reason(serve: Serve) -> None:
    answer = await (await serve()).chat(model="nope")
    assert answer.status == 404
    assert answer.headers["X-Backend-Used"] == "none"
    assert "nope" in answer.headers["X-Routing-Reason"]
    assert not answer.headers["X-Routing-Reason"].startswith("not routed")


async def test_a_failed_backend_is_named_with_its_estimates(serve: Serve) -> None:
    failing = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_REJECTED, "no", status=422))
    answer = await (await serve(failing)).chat()
    assert answer.status == 422
    assert answer.headers["X-Backend-Used"] == "npu"
    assert answer.headers["X-Estimated-Power-W"] == "3.0"


async def test_ignored_fields_are_listed(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(ignored_fields=("user", "logit_bias")), Delta("x"), Finished())
    answer = await (await serve(backend)).chat()
    assert answer.headers["X-Ignored-Fields"] == "user, logit_bias"


async def test_a_retry_is_named_with_the_backend_that_answered(serve: Serve) -> None:
    failing = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off"))
    site = await serve(failing, FakeBackend("cpu"))
    answer = await site.chat({"X-Power-Efficient": "true"})
    assert answer.status == 200
    assert answer.headers["X-Backend-Used"] == "cpu"
    assert "tried again because npu failed" in answer.headers["X-Routing-Reason"]


def test_a_reason_becomes_one_line_of_plain_signs() -> None:
    assert header_text("85 °C — too hot\r\nX-Evil: 1\x00") == "85 C - too hot X-Evil: 1"
    assert header_text("Zürich 模型") == "Zurich ??"
    assert header_text("plain") == "plain"


def test_a_long_reason_is_cut() -> None:
    assert len(header_text("x" * 10_000)) == MOST_CHARACTERS
