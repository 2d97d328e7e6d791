"""Bodies with half letters and impossible numbers, on every route that takes a body."""

from typing import Any

import pytest

from tests.edges.http_api.conftest import Serve
from tests.fakes import FakeBackend

ROUTES = {
    "/api/chat": b'"model":"tiny","messages":[{"role":"user","content":"hi%b"}]',
    "/api/generate": b'"model":"tiny","prompt":"hi%b"',
    "/api/embed": b'"model":"tiny","input":"hi%b"',
    "/api/embeddings": b'"model":"tiny","prompt":"hi%b"',
    "/api/show": b'"model":"tiny","system":"hi%b"',
    "/v1/chat/completions": b'"model":"tiny","messages":[{"role":"user","content":"hi%b"}]',
    "/v1/completions": b'"model":"tiny","prompt":"hi%b"',
    "/v1/embeddings": b'"model":"tiny","input":"hi%b"',
    "/routing/explain": b'"model":"tiny","mode":"hi%b"',
    "/efficiency": b'"mode":"hi%b"',
    "/settings": b'"x":"hi%b"',
}
NUMBERS = [b"1e999", b"-1e400", b"1" * 400, b"1" * 1_000_000]


def sentence(answer: Any) -> str:
    error = answer.json["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:6].decode()}-{len(number)}")
async def test_a_number_that_no_double_holds_is_a_400_in_the_clients_form(
    serve: Serve, route: str, number: bytes
) -> None:
    site = await serve(FakeBackend("npu"))
    known = ROUTES[route] % b""
    for body in (b'{%b,"unknown":%b}' % (known, number), b'{%b,"options":{"seed":%b}}' % (known, number)):
        answer = await site.ask("POST", route, data=body)
        assert answer.status in {400, 413}
        assert isinstance(answer.json["error"], dict) == route.startswith("/v1/")
        assert len(answer.body) < 2000


@pytest.mark.parametrize("route", [route for route in ROUTES if route.startswith(("/api/", "/v1/"))])
@pytest.mark.parametrize("half", [b"\\ud83d", b"\\ude00", b"\xed\xa0\xbd"])
async def test_half_a_letter_is_one_lost_letter_and_not_a_lost_request(serve: Serve, route: str, half: bytes) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    answer = await site.ask("POST", route, data=b"{%b}" % (ROUTES[route] % half))
    if "embed" not in route:
        assert answer.status == 200
    if route != "/api/show":
        request, _ = backend.requests[0]
        assert "hi\ufffd".encode() in request.body
        assert request.content() is not None
