"""Many requests on one WebSocket: both forms of their fields, what comes back, and what ends them."""

import asyncio
from collections import defaultdict
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished, FinishReason, ToolCallDelta
from ollama_proxyd.core.requests import Chat, Priority, Text
from ollama_proxyd.edges.http_api import websocket
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.websocket import MOST_AT_ONCE
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, words

PATH = "/v1/stream/ws"
ASK = {"request_id": "a", "model": "tiny", "prompt": "hello"}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("look", "go")]
Socket = aiohttp.ClientWebSocketResponse


async def until_done(socket: Socket, requests: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The messages of each request, until so many have ended."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    async with asyncio.timeout(60):
        while sum(each[-1]["done"] for each in found.values()) < requests:
            message = await socket.receive_json()
            found[message["request_id"]].append(message)
    return found


async def answer_to(site: Site, **fields: Any) -> list[dict[str, Any]]:
    async with site.client.ws_connect(PATH) as socket:
        await socket.send_json({**ASK, **fields})
        (messages,) = (await until_done(socket)).values()
        return messages


async def test_each_piece_has_its_id_the_first_its_time_and_the_last_the_sums(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta(thinking="Hm"), *words("Hello", " world")[1:]))
    *pieces, last = await answer_to(site)
    assert [piece.get("token") for piece in pieces] == [None, "Hello", " world"]
    assert pieces[0]["thinking"] == "Hm"
    assert ["ttft_ms" in piece for piece in pieces] == [True, False, False]
    assert {*pieces[0]} == {"request_id", "done", "thinking", "ttft_ms"}
    assert (last["done"], last["token_count"], last["total_tokens"], last["finish_reason"]) == (True, 2, 2, "stop")
    assert (last["backend"], last["backend_id"]) == ("npu", "npu")
    assert last["energy_joules"] >= 0
    assert last["energy_source"]
    assert last["total_time_ms"] >= pieces[0]["ttft_ms"]
    whole = await answer_to(site, stream=False)
    assert [(each["token"], each["done"]) for each in whole] == [("Hello world", True)]


async def test_the_log_tells_the_requests_of_a_connection_apart(serve: Serve) -> None:
    backend = FakeBackend("npu", *words("Hello"))
    site = await serve(backend)
    async with site.client.ws_connect(PATH, headers={"X-Request-ID": "me"}) as socket:
        for name in ("a", "b", "line\nends"):
            await socket.send_json({**ASK, "request_id": name})
        await until_done(socket, 3)
    ids = sorted(request.hints.request_id for request, _ in backend.requests)
    assert ids[1:] == ["me.a", "me.b"]
    assert ids[0].isalnum()


@pytest.mark.parametrize("stream", [True, False])
async def test_the_tools_that_a_model_calls_stand_in_the_last_message(serve: Serve, stream: bool) -> None:
    calls = [
        ToolCallDelta(0, "c1", "look", '{"at":'),
        ToolCallDelta(0, None, None, "1}"),
        ToolCallDelta(1, None, "go", "{}"),
    ]
    pieces = [Delta(tool_calls=(call,)) for call in calls]
    site = await serve(
        FakeBackend("npu", Accepted(), Delta(text="Let me see"), *pieces, Finished(FinishReason.TOOL_CALLS))
    )
    *_, last = await answer_to(site, stream=stream, tools=TOOLS)
    told = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in last["tool_calls"]]
    assert told == [("c1", "look", '{"at":1}'), ("call_1", "go", "{}")]
    assert (last["finish_reason"], last.get("token")) == ("tool_calls", None if stream else "Let me see")


async def test_fields_that_the_engine_cannot_express_are_named(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(("logit_bias",)), *words("Hello")[1:]))
    assert (await answer_to(site, logit_bias={"1": 1}))[-1]["ignored_fields"] == ["logit_bias"]


@pytest.mark.parametrize(
    "form",
    [
        {"priority": "high", "max_latency_ms": 9000, "max_power_watts": 99, "target_backend": "npu"},
        {"annotations": {"priority": "high", "max_latency_ms": 9000, "max_power_watts": 99, "target_backend": "npu"}},
    ],
)
async def test_hints_stand_in_the_message_or_in_its_annotations(serve: Serve, form: dict[str, Any]) -> None:
    backend = FakeBackend("npu")
    site = await serve(FakeBackend("cpu"), backend)
    options = {"temperature": 0.5, "max_tokens": 7, "stop": ["x"], "top_k": 3}
    await answer_to(site, options=options, **form)
    request, _ = backend.requests[0]
    hints = request.hints
    assert (hints.priority, hints.max_latency_ms, hints.max_power_watts) == (Priority.HIGH, 9000, 99)
    content = request.content()
    assert isinstance(content, Chat)
    assert dict(content.options.known) == options
    assert content.messages[0].parts == (Text("hello"),)


async def test_twenty_at_once_are_told_apart(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    async with site.client.ws_connect(PATH) as socket:
        for at in range(20):
            messages = [{"role": "user", "content": "hello"}]
            await socket.send_json({"request_id": str(at), "model": "tiny", "messages": messages})
        found = await until_done(socket, 20)
    assert set(found) == {str(at) for at in range(20)}
    assert {"".join(each.get("token", "") for each in messages) for messages in found.values()} == {"Hello world"}


async def test_one_is_cancelled_and_the_connection_goes_on(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta(text="Hi"), asyncio.Event(), Finished())
    site = await serve(backend)
    async with site.client.ws_connect(PATH) as socket:
        await socket.send_json(ASK)
        assert (await socket.receive_json())["token"] == "Hi"
        await socket.send_json(ASK)
        again = await socket.receive_json()
        assert (again["code"], again["param"]) == ("invalid_request", "request_id")
        await socket.send_json({"cancel": "a"})
        ended = await socket.receive_json()
        assert (ended["request_id"], ended["done"], ended["code"]) == ("a", True, "cancelled")
        assert backend.closed.is_set()
        await socket.send_json({"cancel": "a"})
        assert (await socket.receive_json())["code"] == "invalid_request"
        await socket.send_json({"ping": 7})
        assert await socket.receive_json() == {"pong": 7}


async def test_one_that_is_cancelled_before_it_has_begun_is_told_so(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", asyncio.Event(), Finished()))
    async with site.client.ws_connect(PATH) as socket:
        await asyncio.gather(*(socket.send_json(each) for each in (ASK, {"cancel": "a"}, {"cancel": "b"})))
        ended = await socket.receive_json(timeout=60)
        assert (ended["request_id"], ended["done"], ended["code"]) == ("a", True, "cancelled")
        unknown = await socket.receive_json(timeout=60)
        assert (unknown["request_id"], unknown["code"], unknown["param"]) == ("b", "invalid_request", "cancel")


async def test_no_target_in_words_leaves_it_open_and_a_wrong_one_is_named_as_it_was_written(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    for target in ("", "auto", None):
        assert (await answer_to(site, target_backend=target))[-1]["backend"] == "npu"
    assert (await answer_to(site, target_backend="none"))[-1]["param"] == "target_backend"
    assert (await answer_to(site, prompt=None))[-1]["param"] == "prompt"


async def test_a_client_that_leaves_ends_all_that_is_under_way(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta(text="Hi"), asyncio.Event(), Finished())
    site = await serve(backend)
    async with site.client.ws_connect(PATH) as socket:
        await socket.send_json(ASK)
        await socket.receive_json()
    async with asyncio.timeout(60):
        await backend.closed.wait()


async def test_a_client_that_does_not_read_holds_its_backend_back_and_loses_nothing(serve: Serve) -> None:
    told: list[int] = []
    pieces = 2000
    script = [step for at in range(pieces) for step in (Delta("x" * 20_000), lambda at=at: told.append(at))]
    site = await serve(FakeBackend("npu", Accepted(), *script, Finished()))
    async with site.client.ws_connect(PATH, max_msg_size=0) as socket:
        await socket.send_json(ASK)
        before = -1
        while before != len(told):  # what sockets hold fills up, and then nothing moves
            before = len(told)
            for _ in range(3000):
                await asyncio.sleep(0)
        assert 0 < before < pieces
        (messages,) = (await until_done(socket)).values()
    assert len(messages) == pieces + 1
    assert messages[-1]["done"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_request"),
        ("[]", "invalid_request"),
        ("{}", "invalid_request"),
        ('{"request_id": 7, "model": "tiny", "prompt": "x"}', "invalid_request"),
        ('{"model": "tiny", "prompt": 7}', "invalid_request"),
        ('{"model": "tiny", "prompt": "x", "options": []}', "invalid_request"),
        ('{"model": "tiny", "prompt": "x", "stream": "no"}', "invalid_request"),
        ('{"model": "tiny", "prompt": "x", "priority": "urgent"}', "invalid_request"),
        ('{"ping": "' + "x" * 3000 + '"}', "invalid_request"),
        ('{"model": "tiny", "prompt": "x", "max_power_watts": -1}', "invalid_request"),
        ('{"model": "none", "prompt": "x"}', "model_not_found"),
        ('{"model": "tiny", "prompt": "x", "target_backend": "none"}', "no_backends"),
        ('{"cancel": []}', "invalid_request"),
        ('{"model": "tiny", "prompt": "x", "target_backend": []}', "invalid_request"),
        ('{"model": "tiny", "prompt": null, "messages": null}', "invalid_request"),
    ],
)
async def test_odd_messages_are_answered_and_end_nothing(serve: Serve, message: str, code: str) -> None:
    site = await serve(FakeBackend("npu"))
    async with site.client.ws_connect(PATH) as socket:
        await socket.send_str(message)
        told = await socket.receive_json()
        assert (told["code"], told["done"]) == (code, True)
        await socket.send_json(ASK)
        assert (await until_done(socket))["a"][-1]["backend"] == "npu"


async def test_a_fault_in_the_middle_is_told_after_what_was_said(serve: Serve) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    site = await serve(FakeBackend("npu", *words("Hi")[:-1], failure))
    first, last = await answer_to(site)
    assert (first["token"], last["code"], last["done"]) == ("Hi", "backend_error", True)


async def test_a_fault_of_the_proxy_is_told_and_logged_and_ends_nothing_else(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(FakeBackend("npu", *words("Hello")))

    def fails(*_: object) -> None:
        raise RuntimeError("boom")

    async with site.client.ws_connect(PATH) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(websocket, "last_fields", fails)
            await socket.send_json(ASK)
            *_, last = (await until_done(socket))["a"]
        assert (last["code"], "boom" in last["error"]) == ("internal", False)
        assert "a request on the WebSocket failed by a fault of the proxy" in caplog.text
        await socket.send_json(ASK)
        *_, last = (await until_done(socket))["a"]
        assert last["finish_reason"] == "stop"


async def test_how_much_is_under_way_and_how_long_a_message_is_are_bounded(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta(text="Hi"), asyncio.Event(), Finished())
    site = await serve(backend, listen=ServerSettings(port=0, max_body_bytes=2000))
    async with site.client.ws_connect(PATH) as socket:
        for at in range(MOST_AT_ONCE + 1):
            await socket.send_json({**ASK, "request_id": str(at)})
        told: dict[str, Any] = {}
        while told.get("code") != "overloaded":
            told = await socket.receive_json()
        assert told["request_id"] == str(MOST_AT_ONCE)
        await socket.send_json({**ASK, "prompt": "x" * 3000})
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_pages_of_other_sites_and_those_without_the_token_are_refused(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), listen=ServerSettings(port=0, token="secret"))
    for headers, status in (({"Origin": "https://evil.example"}, 403), ({}, 401)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.client.ws_connect(PATH, headers=headers)
        assert refused.value.status == status
    async with site.client.ws_connect(PATH, headers={"Authorization": "Bearer secret"}) as socket:
        await socket.send_json(ASK)
        await until_done(socket)


async def test_a_plain_request_is_told_what_to_do(serve: Serve) -> None:
    answer = await (await serve()).get(PATH)
    assert (answer.status, "connect with Upgrade: websocket" in answer.json["error"]["message"]) == (426, True)


async def test_a_failure_that_its_client_hears_no_more_is_no_fault_of_the_proxy(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(_self: object, _message: bytes) -> bool:
        raise ConnectionResetError

    may_fail = asyncio.Event()
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke")
    site = await serve(FakeBackend("npu", Accepted(), may_fail, failure))
    monkeypatch.setattr(websocket.Socket, "feed", left)
    async with site.client.ws_connect(PATH) as socket, asyncio.timeout(60):
        await socket.send_json(ASK)
        await site.services.fleet.views.until(lambda views: views[0].in_flight > 0)
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "websocket request a"]
        may_fail.set()
        await asyncio.wait({task})
    assert task.exception() is None
