"""Errors become answers in one place, in the words of whoever asked."""

import asyncio
import io
import json
import math
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Api
from ollama_proxyd.dialects.framing.statuses import STATUSES
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.http_api.errors import OWN, ErrorRenderer, ErrorRenderers, error_reply, render_own
from ollama_proxyd.edges.http_api.middleware import front
from ollama_proxyd.edges.http_api.server import build_app
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.ws_messages import error_fields
from ollama_proxyd.services.settings import GatewaySettings
from tests.edges.http_api.conftest import CHAT, Answer, Serve
from tests.fakes import FakeBackend, services_of, spec_of

OPENAI_ERRORS = ErrorRenderer(OpenAI().render_error)
OLLAMA_ERRORS = ErrorRenderer(Ollama().render_error)


def sentence(answer: Answer) -> str:
    """The message, wherever the dialect has it."""
    error = answer.json["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_status_and_words_in_every_dialect(kind: ErrorKind) -> None:
    for renderer in (OPENAI_ERRORS, OLLAMA_ERRORS, OWN):
        reply = error_reply(ProxyError(kind, "a sentence"), renderer)
        assert reply.status == STATUSES[kind]
        assert "a sentence" in str(reply.text)


def test_our_own_errors_name_the_kind_and_what_is_at_fault() -> None:
    status, body = render_own(ProxyError(ErrorKind.INVALID_REQUEST, "no", param="mode"))
    assert status == 400
    assert json.loads(body) == {"error": "no", "kind": "invalid_request", "param": "mode"}


@pytest.mark.parametrize(
    ("path", "meant", "do"),
    [
        ("/v1/v1/chat/completions", "/v1/chat/completions", "take /v1 from"),
        ("/v1/api/chat", "/api/chat", "take /v1 from"),
        ("/api/api/chat", "/api/chat", "take /api from"),
        ("/messages", "/v1/messages", "add /v1 to"),
    ],
)
async def test_a_path_under_a_wrong_base_address_says_which_is_meant(
    serve: Serve, path: str, meant: str, do: str
) -> None:
    answer = await (await serve()).post(path, CHAT)
    assert answer.status == 404
    assert f"there is {meant}, so {do} the base address" in sentence(answer)


@pytest.mark.parametrize(
    ("path", "shape"),
    [("/v1/nope", {"error"}), ("/api/nope", {"error"}), ("/nope", {"error", "kind"}), ("/v1", {"error", "kind"})],
)
async def test_an_unknown_path_is_a_404_in_the_words_of_its_neighbours(
    serve: Serve, path: str, shape: set[str]
) -> None:
    answer = await (await serve()).get(path)
    assert answer.status == 404
    assert set(answer.json) == shape
    assert isinstance(answer.json["error"], dict) == path.startswith("/v1/")
    assert sentence(answer) == f"there is nothing at {path}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/api/chat", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("PATCH", "/efficiency", "GET, HEAD, POST"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/api/tags", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_a_405_that_lists_the_right_ones(
    serve: Serve, method: str, path: str, allowed: str
) -> None:
    answer = await (await serve()).ask(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    assert allowed in sentence(answer)


async def test_routes_that_change_an_engines_inside_do_not_exist(serve: Serve) -> None:
    site = await serve()
    for method in ("POST", "DELETE"):
        assert (await site.ask(method, "/slots/0", json={"model": "tiny"})).status == 404


async def test_bad_json_is_a_400_in_each_dialect(serve: Serve) -> None:
    site = await serve()
    for path in ("/v1/chat/completions", "/api/chat", "/api/show", "/efficiency", "/routing/explain"):
        for body in (b"{", b"[]", b"", b'{"model": 5}', b"\xff", b"[" * 50_000):
            answer = await site.ask("POST", path, data=body)
            assert answer.status == 400, (path, body[:20])
            assert sentence(answer)


async def test_nothing_up_is_a_503_that_says_when_to_come_back(serve: Serve) -> None:
    backend = FakeBackend("npu")
    backend.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused")
    site = await serve(backend)
    for answer in (await site.chat(), await site.post("/api/chat", CHAT)):
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1


async def test_the_time_to_come_back_is_rounded_up() -> None:
    reply = error_reply(ProxyError(ErrorKind.OVERLOADED, "busy", retry_after_s=1.2), OPENAI_ERRORS)
    assert reply.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("kind", "own", "should_retry"),
    [
        (ErrorKind.UPSTREAM_REJECTED, 429, None),
        (ErrorKind.UPSTREAM_REJECTED, 400, None),
        (ErrorKind.UPSTREAM_REJECTED, 501, "false"),
        (ErrorKind.UPSTREAM_FAILED, 401, "false"),
        (ErrorKind.NO_ROOM, None, "false"),
    ],
)
async def test_nobody_is_told_to_come_back_for_what_waiting_does_not_cure(
    kind: ErrorKind, own: int | None, should_retry: str | None
) -> None:
    patience_s = 20.0 if kind is ErrorKind.UPSTREAM_REJECTED else None
    reply = error_reply(ProxyError(kind, "no", status=own, retry_after_s=patience_s), OPENAI_ERRORS)
    assert "Retry-After" not in reply.headers
    assert reply.headers.get("X-Should-Retry") == should_retry


async def test_an_unknown_target_is_a_404_and_one_that_is_down_a_503(serve: Serve) -> None:
    resting = FakeBackend("cpu")
    resting.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused")
    site = await serve(FakeBackend("npu"), resting)
    unknown = await site.chat({"X-Target-Backend": "gpu9"})
    assert unknown.status == 404
    assert "npu, cpu" in sentence(unknown)
    assert (await site.chat({"X-Target-Backend": "cpu"})).status == 503
    assert (await site.chat({"X-Target-Backend": "npu"})).headers["X-Backend-Used"] == "npu"


async def test_a_missing_model_is_a_404_that_lists_what_there_is(serve: Serve) -> None:
    site = await serve()
    for path, body in (
        ("/v1/chat/completions", {**CHAT, "model": "nope"}),
        ("/api/chat", {**CHAT, "model": "nope"}),
        ("/api/show", {"model": "nope"}),
        ("/api/embed", {"model": "nope", "input": "x"}),
    ):
        answer = await site.post(path, body)
        assert answer.status == 404
        assert "tiny:latest" in sentence(answer)


async def test_an_ollama_client_is_told_of_a_missing_model_in_ollamas_words(serve: Serve) -> None:
    site = await serve()
    for path, start in (
        ("/api/chat", "model 'nope' not found"),
        ("/api/show", "model 'nope:latest' not found"),
        ("/api/embed", 'model "nope" not found, try pulling it first'),
    ):
        answer = await site.post(path, {**CHAT, "model": "nope", "input": "x"})
        assert sentence(answer).startswith(start)
        assert answer.headers["X-Routing-Reason"]


@pytest.mark.parametrize("name", ["X-Latency-Critical", "X-Max-Power-Watts", "X-Priority", "X-Deadline-Ms"])
async def test_a_bad_header_is_a_400_that_names_it_in_each_dialect(serve: Serve, name: str) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    for path in ("/v1/chat/completions", "/api/chat"):
        answer = await site.post(path, CHAT, headers={name: "???"})
        assert answer.status == 400
        assert name in sentence(answer)
    assert not backend.requests


async def test_a_fault_of_ours_is_a_500_without_its_inside_and_a_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(FakeBackend("npu", ZeroDivisionError("secret")))
    for path in ("/v1/chat/completions", "/api/chat"):
        answer = await site.post(path, CHAT, headers={"X-Request-ID": "mine"})
        assert answer.status == 500
        assert "mine" in sentence(answer)
        assert "secret" not in answer.body.decode()
    assert "ZeroDivisionError: secret" in caplog.text
    assert (await site.get("/healthz")).status == 200


async def test_host_and_origin_are_checked_on_every_route_even_unknown_ones(serve: Serve) -> None:
    site = await serve()
    paths = ("/", "/v1/models", "/api/tags", "/health", "/metrics", "/efficiency", "/nowhere", "/version")
    for path in paths:
        for bad in ({"Host": "evil.com"}, {"Origin": "https://evil.com"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await site.get(path, headers=bad)).status == 403, path


async def test_a_page_cannot_change_the_mode_with_a_simple_request(serve: Serve) -> None:
    site = await serve()
    page = {"Origin": "https://evil.com", "Content-Type": "text/plain"}
    answer = await site.ask("POST", "/efficiency", data=b'{"mode":"Performance"}', headers=page)
    assert answer.status == 403
    assert (await site.get("/efficiency")).json["mode"] == "Balanced"


async def test_a_token_is_needed_on_every_route_where_one_is_configured(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="s3cret", drain_s=0.2))
    for path in ("/v1/models", "/api/tags", "/health", "/nowhere"):
        answer = await site.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await site.get(path, headers={"Authorization": "Bearer s3cret"})).status != 401


async def test_a_page_of_a_configured_origin_may_ask_and_read(serve: Serve) -> None:
    origin = "https://chat.example"
    site = await serve(listen=ServerSettings(port=0, token="t", allowed_origins=(origin,), drain_s=0.2))
    asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = await site.ask("OPTIONS", "/v1/chat/completions", headers=asking)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert "X-Priority" in preflight.headers["Access-Control-Allow-Headers"]
    asking["Access-Control-Request-Headers"] = "authorization,x-stainless-os, x-new"
    preflight = await site.ask("OPTIONS", "/v1/chat/completions", headers=asking)
    assert preflight.headers["Access-Control-Allow-Headers"].endswith(", authorization,x-stainless-os, x-new")
    for odd in ("x: y", "x" * 5000, ", ".join(["x"] * 100)):
        asking["Access-Control-Request-Headers"] = odd
        preflight = await site.ask("OPTIONS", "/v1/chat/completions", headers=asking)
        assert odd not in preflight.headers["Access-Control-Allow-Headers"].split(", ")
    answer = await site.chat({"Origin": origin, "Authorization": "Bearer t"}, stream=True)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "X-Backend-Used" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_image_by_address_reaches_an_engine_here_for_a_program_and_not_for_a_page(
    serve: Serve, stream: bool
) -> None:
    origin = "https://chat.example"
    listen = ServerSettings(port=0, allowed_origins=(origin,), drain_s=0.2)
    site = await serve(FakeBackend(spec_of("npu", api=Api.OPENAI)), listen=listen)
    parts = [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]
    asked = {"messages": [{"role": "user", "content": parts}], "stream": stream}
    assert (await site.chat(**asked)).status == 200
    for page in ({"Origin": origin}, {"Sec-Fetch-Site": "same-origin"}):
        answer = await site.chat(page, **asked)
        assert (answer.status, answer.json["error"]["code"]) == (400, "image_urls_refused")
    claude = [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}]}]
    answer = await site.post("/v1/messages", {"model": "tiny", "max_tokens": 9, "messages": claude})
    assert answer.status == 400, "no bytes of another API pass through"


async def test_no_page_is_given_permission_to_read_otherwise(serve: Serve) -> None:
    site = await serve()
    own = {"Origin": site.server.url}
    for headers in (own, {"Origin": "https://evil.com"}):
        assert "Access-Control-Allow-Origin" not in (await site.get("/health", headers=headers)).headers


async def raw(port: int, data: bytes) -> bytes:
    """What the server answers to these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(20):
        answer = await reader.read(4096)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://evil.com/version HTTP/1.1\r\nHost: localhost",
        b"GET /version HTTP/1.1",
        b"GET /version HTTP/1.0",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil.com",
        b"GET /version HTTP/1.1\r\nHost:",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"y" * 100_000,
        b"CONNECT evil.com:443 HTTP/1.1\r\nHost: localhost",
        b"NONSENSE",
    ],
)
async def test_odd_first_lines_and_hosts_get_nothing(
    serve: Serve, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve()
    answer = await raw(site.server.port, head + b"\r\n\r\n")
    assert answer[9:12] in {b"400", b"403", b"431"}
    assert b"ollama_api" not in answer
    assert not caplog.records


async def test_a_path_cannot_write_into_the_headers(serve: Serve) -> None:
    site = await serve()
    answer = await raw(site.server.port, b"GET /a%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"\r\nX-Evil" not in answer


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, max_body_bytes=2048, drain_s=0.2))
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n{"
    answer = await raw(site.server.port, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"server.max_body_bytes" in answer


async def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, max_body_bytes=2048, drain_s=0.2))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw(site.server.port, head + b"900\r\n" + b"x" * 0x900 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_of_the_allowed_size_is_read_whole_from_many_pieces(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend, listen=ServerSettings(port=0, max_body_bytes=3_000_000, drain_s=0.2))
    body = json.dumps({**CHAT, "padding": "x" * 2_900_000}).encode()

    async def pieces() -> Any:
        for start in range(0, len(body), 70_001):
            yield body[start : start + 70_001]

    for data in (io.BytesIO(body), pieces()):
        assert (await site.ask("POST", "/v1/chat/completions", data=data)).status == 200
        assert backend.requests[-1][0].body == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
async def test_a_compressed_body_is_refused_unread(serve: Serve, encoding: str) -> None:
    site = await serve()
    answer = await site.ask("POST", "/api/chat", data=b"\x1f\x8b123", headers={"Content-Encoding": encoding})
    assert answer.status == 415
    assert "without compression" in sentence(answer)


async def test_a_client_that_leaves_during_its_body_is_no_fault(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    site = await serve()
    _, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await site.get("/healthz")).status == 200
    assert not caplog.records


async def test_a_client_that_is_gone_when_it_is_written_to_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def gone(_request: web.Request) -> web.StreamResponse:
        raise ConnectionResetError("Cannot write to closing transport")

    app = build_app(await services_of(FakeBackend("npu")), ServerSettings())
    request = make_mocked_request("GET", "/healthz", {"Host": "localhost"}, app=app)
    with pytest.raises(ConnectionResetError):
        await front(request, gone)
    assert not caplog.records


async def test_more_requests_than_allowed_are_told_to_come_later(serve: Serve) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("npu", gate)
    site = await serve(backend, settings=GatewaySettings(max_in_flight=1))
    first = asyncio.create_task(site.chat())
    await backend.opened.wait()
    answer = await site.chat()
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    first.cancel()
    with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
        await first


@pytest.mark.parametrize(
    ("kind", "told_s", "wait_s"),
    [
        (ErrorKind.UPSTREAM_FAILED, 2.5, 2.5),
        (ErrorKind.UPSTREAM_REJECTED, 20.0, None),
        (ErrorKind.UPSTREAM_FAILED, 1e12, None),
        (ErrorKind.UPSTREAM_FAILED, math.nan, None),
        (ErrorKind.UPSTREAM_FAILED, 0.0, None),
    ],
)
def test_a_web_socket_tells_the_pause_only_where_waiting_helps(
    kind: ErrorKind, told_s: float, wait_s: float | None
) -> None:
    told = error_fields(ProxyError(kind, "no", retry_after_s=told_s))
    assert told.get("retry_after_seconds") == wait_s


@pytest.mark.parametrize("retry_after_s", [math.inf, -math.inf, math.nan, -1.0, 0.0, 1e300])
def test_a_moment_to_come_back_that_cannot_be_is_replaced_by_our_own(retry_after_s: float) -> None:
    error = ProxyError(ErrorKind.UNAVAILABLE, "no", retry_after_s=retry_after_s)
    assert error_reply(error, OPENAI_ERRORS).headers["Retry-After"] == "5"


def test_a_moment_to_come_back_is_told_in_whole_seconds() -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "no", status=503, retry_after_s=1.2)
    assert error_reply(error, OPENAI_ERRORS).headers["Retry-After"] == "2"


class Messages(Ollama):
    """A second dialect under OpenAI's prefix."""

    prefix = "/v1/"


async def nothing(_request: web.Request) -> web.StreamResponse:
    raise AssertionError


async def test_two_dialects_under_one_prefix_each_word_the_errors_of_their_own_routes() -> None:
    routes = {
        OpenAI(): [web.post("/v1/chat/completions", nothing)],
        Messages(): [web.post("/v1/others", front)],
    }
    app, renderers = web.Application(), ErrorRenderers()
    for dialect, own in routes.items():
        renderers.add(dialect, own)
        app.add_routes(own)

    async def words_of(method: str, path: str) -> object:
        request = make_mocked_request(method, path, app=app)
        request._match_info = await app.router.resolve(request)
        return json.loads(renderers.of(request).render(ProxyError(ErrorKind.FORBIDDEN, "no"))[1])["error"]

    assert await words_of("POST", "/v1/others") == "no"
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/others"), ("POST", "/v1/nope")):
        assert isinstance(await words_of(method, path), dict), "the first dialect of a prefix words what is unknown"
