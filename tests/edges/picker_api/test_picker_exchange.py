"""The endpoint picker protocol, message by message."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ollama_proxyd.core.engine_load import EngineLoad
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.prefixes import BLOCK_BYTES
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.edges.picker_api.telling import PIECE_BYTES
from tests.edges.picker_api.conftest import LIMITS, Serve, backend, until


def chat(content: str = "Hi", model: str = "tiny", **more: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **more}).encode()


async def test_the_best_endpoint_comes_first_and_others_follow_to_fall_back_on(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    told = await site.ask(chat())
    assert told.addresses == [site.address("slow"), site.address("fast")]
    site.services.governor.select(Mode.PERFORMANCE)
    assert (await site.ask(chat())).addresses == [site.address("fast"), site.address("slow")]


async def test_no_more_endpoints_are_named_than_is_configured(serve: Serve) -> None:
    site = await serve(settings=PickerSettings(endpoints=1, notice_s=0))
    assert len((await site.ask(chat())).addresses) == 1


@pytest.mark.parametrize("header", ["x-latency-critical", "X-Latency-Critical"])
async def test_hints_in_headers_count_as_they_do_in_the_proxy(serve: Serve, header: str) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    told = await site.ask(chat(), headers={header: "true"})
    assert told.addresses[0] == site.address("fast")
    wrong = await site.ask(chat(), headers={header: "perhaps"})
    assert wrong.refusal.status.code == 400
    assert b"X-Latency-Critical" in wrong.refusal.body


async def test_of_several_headers_of_one_name_the_first_counts(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    told = await site.ask(chat(), headers={"x-latency-critical": "true", "X-Latency-Critical": "false"})
    assert told.addresses[0] == site.address("fast")


# the body


async def test_a_body_in_pieces_is_given_back_as_it_came_after_the_decision(serve: Serve) -> None:
    site = await serve()
    body = chat("x" * (LIMITS[0] - 100))
    assert len(body) > PIECE_BYTES
    stream = site.stream()
    await stream.head()
    for at in range(0, len(body), 10_000):
        await stream.body(body[at : at + 10_000], ends=at + 10_000 >= len(body))
    await stream.read_decision()
    assert stream.decision.WhichOneof("response") == "request_headers"
    back, ends = b"", False
    while not ends:
        streamed = (await stream.call.read()).request_body.response.body_mutation.streamed_response
        assert len(streamed.body) <= PIECE_BYTES
        back, ends = back + streamed.body, streamed.end_of_stream
    assert back == body


async def test_trailers_end_a_body_too(serve: Serve) -> None:
    site = await serve()
    stream = site.stream()
    await stream.head()
    await stream.body(chat(), ends=False)
    await stream.call.write(pb.ProcessingRequest(request_trailers=pb.HttpTrailers()))
    await stream.read_decision()
    streamed = (await stream.call.read()).request_body.response.body_mutation.streamed_response
    assert (streamed.body, streamed.end_of_stream) == (chat(), False)
    assert (await stream.call.read()).WhichOneof("response") == "request_trailers"


async def test_a_buffered_body_is_answered_with_the_decision_alone(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    stream = site.stream("buffered")
    await stream.head()
    assert not (await stream.call.read()).dynamic_metadata.fields, "the head waits for nothing and changes nothing"
    await stream.body(chat(), ends=True)
    await stream.read_decision()
    assert stream.decision.WhichOneof("response") == "request_body"
    assert stream.addresses[0] == site.address("slow")


@pytest.mark.parametrize("mode", ["none", "streamed", "partial"])
async def test_where_the_head_goes_on_before_the_body_it_is_decided_by_the_head(serve: Serve, mode: str) -> None:
    site = await serve()
    stream = site.stream(mode)
    await stream.head()
    await stream.read_decision()
    assert stream.decision.WhichOneof("response") == "request_headers"
    assert len(stream.addresses) == 2
    await stream.body(chat(), ends=True)
    assert (await stream.call.read()).WhichOneof("response") == "request_body"


async def test_a_request_without_a_body_goes_to_some_endpoint_that_serves(serve: Serve) -> None:
    site = await serve()
    told = await site.ask(b"", path="/v1/models", method="GET")
    assert set(told.addresses) == {site.address("slow"), site.address("fast")}
    assert site.in_flight("slow") == site.in_flight("fast") == 0, "it takes no slot"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", b"not valid JSON"),
        (b"[1, 2]", b"object"),
        (b"{}", b"messages"),
        (b'{"messages": [{"role": "user", "content": "Hi"}]}', b"model is required"),
        (b'{"model": 5, "messages": []}', b"model"),
        (b'{"model": "tiny"', b"not valid JSON"),
        (b"\xff\xfe", b"not valid JSON"),
    ],
)
@pytest.mark.parametrize("mode", ["duplex", "buffered"])
async def test_an_odd_body_is_refused_in_the_words_of_its_api(
    serve: Serve, body: bytes, words: bytes, mode: str
) -> None:
    site = await serve()
    refusal = (await site.ask(body, mode=mode)).refusal
    assert refusal.status.code == 400
    assert words in refusal.body
    assert json.loads(refusal.body)["error"]["type"] == "invalid_request_error"


async def test_an_odd_body_of_another_path_goes_to_some_endpoint(serve: Serve) -> None:
    site = await serve()
    assert (await site.ask(b"not json", path="/v1/audio/transcriptions")).addresses
    named = await site.ask(b'{"model": "tiny", "query": "q"}', path="/v1/rerank")
    assert sum(map(site.in_flight, ("slow", "fast"))) == 1
    assert named.addresses
    assert (await site.ask(b'{"model": "other"}', path="/v1/rerank")).refusal.status.code == 503


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "tiny", "prompt": "Hi"}),
        ("/v1/embeddings", {"model": "tiny", "input": "Hi"}),
        ("/v1/responses", {"model": "tiny", "input": "Hi"}),
        ("/v1/messages", {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/chat/completions?api-version=1", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
async def test_every_api_is_read(serve: Serve, path: str, body: Any) -> None:
    site = await serve()
    assert (await site.ask(json.dumps(body).encode(), path=path)).addresses
    assert sum(map(site.in_flight, ("slow", "fast"))) == 1


async def test_a_body_beyond_the_limit_is_refused_before_it_has_come_whole(serve: Serve) -> None:
    site = await serve()
    stream = site.stream()
    await stream.head()
    await stream.body(b"x" * (LIMITS[0] + 1), ends=False)
    await stream.read_decision()
    assert stream.refusal.status.code == 413


async def test_all_bodies_together_are_bounded_and_those_that_leave_make_room(serve: Serve) -> None:
    site = await serve()
    waiting = [site.stream() for _ in range(LIMITS[1] // LIMITS[0])]
    for stream in waiting:
        await stream.head()
        await stream.body(b"x" * LIMITS[0], ends=False)
    await until(lambda: site.server.held_bytes == LIMITS[1])
    assert (await site.ask(chat())).refusal.status.code == 503
    waiting[0].call.cancel()
    await until(lambda: site.server.held_bytes < LIMITS[1])
    assert (await site.ask(chat())).refusal is None


# the endpoints


async def test_a_subset_is_all_that_is_picked_from(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    fast = site.address("fast")
    assert (await site.ask(chat(), within=[fast, "10.9.9.9:1"])).addresses == [fast]
    assert (await site.ask(chat(), within=f"{fast},10.9.9.9:1")).addresses == [fast]


@pytest.mark.parametrize("within", [[], ["10.9.9.9:1"]])
async def test_a_subset_without_any_endpoint_of_ours_is_503(serve: Serve, within: list[str]) -> None:
    site = await serve()
    assert (await site.ask(chat(), within=within)).refusal.status.code == 503


async def test_a_subset_of_which_none_can_serve_is_503_whatever_the_obstacle(serve: Serve) -> None:
    blind = backend("slow")
    blind.models = (Model("tiny", capabilities=frozenset({"completion"})),)
    site = await serve(blind)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": [picture]}]}).encode()
    assert (await site.ask(body)).refusal.status.code == 400
    assert (await site.ask(body, within=[site.address("slow")])).refusal.status.code == 503


async def test_503_where_no_endpoint_serves_the_model_or_none_is_up(serve: Serve) -> None:
    site = await serve()
    refusal = (await site.ask(chat(model="unheard-of"))).refusal
    assert refusal.status.code == 503
    assert refusal.details == "model_not_held"
    for name in ("slow", "fast"):
        site.services.fleet.set_enabled(name, False)
    assert (await site.ask(chat())).refusal.status.code == 503
    assert (await site.ask(b"", method="GET")).refusal.status.code == 503


async def test_work_to_spare_is_shed_where_every_endpoint_is_under_heavy_load(serve: Serve) -> None:
    site = await serve()
    low = {"x-priority": "best-effort"}
    await site.say(slow=EngineLoad(waiting=5), fast=EngineLoad(waiting=1))
    assert (await site.ask(chat(), headers=low)).addresses
    await site.say(slow=EngineLoad(waiting=5), fast=EngineLoad(cache_share=0.9))
    refusal = (await site.ask(chat(), headers=low)).refusal
    assert refusal.status.code == 429
    headers = {each.header.key: each.header.raw_value for each in refusal.headers.set_headers}
    assert int(headers["retry-after"]) >= 1
    assert (await site.ask(chat())).addresses, "others wait in the engines' own queues"


async def test_the_load_that_engines_tell_moves_requests_elsewhere(serve: Serve) -> None:
    site = await serve(backend("a"), backend("b"))
    assert (await site.ask(chat())).addresses[0] == site.address("a")
    await site.say(a=EngineLoad(running=4, waiting=10), b=EngineLoad(running=0, waiting=0))
    assert (await site.ask(chat())).addresses[0] == site.address("b")


async def test_a_prompt_goes_where_its_beginning_was_read(serve: Serve) -> None:
    site = await serve(backend("a"), backend("b"))
    long = "once upon a time " * (20 * BLOCK_BYTES // 17)
    first = await site.ask(chat(long), within=[site.address("b")])
    assert first.addresses == [site.address("b")]
    await first.answer_head(200)
    await first.end()
    assert (await site.ask(chat("short"))).addresses[0] == site.address("a")
    site.streams[-1].call.cancel()
    await until(lambda: not site.in_flight("a"))
    again = await site.ask(chat(long + " and more"))
    assert again.addresses[0] == site.address("b")
    again.call.cancel()
    await until(lambda: not site.in_flight("b"))
    assert (await site.ask(chat("another " + long))).addresses[0] == site.address("a")


# the answer


FRAME = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
LAST = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":42}}\n\ndata: [DONE]\n\n'
)


async def test_a_slot_is_held_from_the_decision_to_the_end_of_the_answer(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    stream = await site.ask(chat(stream=True))
    assert site.in_flight("slow") == 1
    await stream.call.read()  # the body
    told = await stream.answer_head(200, content_type="text/event-stream")
    headers = [each.header.key for each in told.response_headers.response.header_mutation.set_headers]
    assert headers == ["x-routing-reason"], "which of the endpoints answered was not told"
    for piece, ends in ((FRAME, False), (FRAME + LAST, False), (b"", True)):
        streamed = (await stream.answer_body(piece, ends=ends)).response_body.response.body_mutation.streamed_response
        assert (streamed.body, streamed.end_of_stream) == (piece, ends)
    assert site.in_flight("slow") == 0
    assert site.services.ledger.totals("slow").completion_tokens == 42
    assert site.services.fleet.view("slow").speeds["tiny:latest"].output_tokens == 42


async def test_the_endpoint_that_served_is_the_one_that_is_charged(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    stream = await site.ask(chat())
    await stream.call.read()
    told = await stream.answer_head(200, served=site.address("fast"))
    used = told.response_headers.response.header_mutation.set_headers[0].header
    assert (used.key, used.raw_value) == ("x-backend-used", b"fast")
    assert (site.in_flight("slow"), site.in_flight("fast")) == (0, 1)
    assert site.services.ledger.totals("slow").failures == 1, "the gateway had to fall back"
    await stream.answer_body(b'{"usage":{"completion_tokens":7}}', ends=True)
    assert site.services.ledger.totals("fast").failures == 0
    assert site.services.ledger.totals("fast").completion_tokens == 7


async def test_an_answer_of_an_endpoint_that_was_not_picked_counts_for_none(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    stream = await site.ask(chat())
    await stream.call.read()
    told = await stream.answer_head(200, served="10.9.9.9:1")
    names = [each.header.key for each in told.response_headers.response.header_mutation.set_headers]
    assert "x-backend-used" not in names
    await stream.answer_body(b"{}", ends=True)
    assert site.in_flight("slow") == site.in_flight("fast") == 0
    assert site.services.ledger.totals("slow").failures == 1, "the gateway could not reach it"
    assert site.services.ledger.totals("fast").requests == 0


async def test_who_keeps_failing_is_left_alone(serve: Serve) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    for _ in range(5):
        stream = await site.ask(chat(), within=[site.address("slow")])
        if stream.refusal is not None:
            break
        await stream.call.read()
        await stream.answer_head(500)
        await stream.answer_body(b"", ends=True)
    assert (await site.ask(chat())).addresses[0] == site.address("fast")


@pytest.mark.parametrize("where", ["before the body", "before the answer", "within the answer"])
async def test_a_gateway_that_leaves_frees_the_slot(serve: Serve, where: str) -> None:
    site = await serve(mode=Mode.EFFICIENCY)
    stream = site.stream()
    await stream.head()
    if where != "before the body":
        await stream.body(chat(), ends=True)
        await stream.read_decision()
        assert site.in_flight("slow") == 1
    if where == "within the answer":
        await stream.call.read()
        await stream.answer_head(200)
        await stream.answer_body(b"{", ends=False)
    stream.call.cancel()
    await until(lambda: not site.in_flight("slow"))
    assert site.services.ledger.totals("slow").failures == 0


async def test_twenty_at_once_spread_and_all_slots_come_back(serve: Serve) -> None:
    site = await serve(backend("a"), backend("b"), backend("c"))
    streams = await asyncio.gather(*(site.ask(chat()) for _ in range(21)))
    counts = [site.in_flight(name) for name in "abc"]
    assert sum(counts) == 21
    assert min(counts) >= 4
    for stream in streams:
        stream.call.cancel()
    await until(lambda: not any(map(site.in_flight, "abc")))


async def test_messages_out_of_order_and_for_observers_do_no_harm(serve: Serve) -> None:
    site = await serve()
    stream = site.stream()
    await stream.call.write(pb.ProcessingRequest())
    await stream.call.write(pb.ProcessingRequest(response_headers=pb.HttpHeaders()))
    assert (await stream.call.read()).WhichOneof("response") == "response_headers"
    await stream.call.write(pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x", end_of_stream=True)))
    assert (await stream.call.read()).WhichOneof("response") == "response_body"
    await stream.call.write(pb.ProcessingRequest(observability_mode=True, request_headers=pb.HttpHeaders()))
    await stream.end()


# health


async def health(site: Any, service: str) -> Any:
    stub = health_pb2_grpc.HealthStub(site.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_it_lives_although_it_is_not_ready(serve: Serve) -> None:
    site = await serve()
    names = ("", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor")
    assert [await health(site, name) for name in (*names, "liveness")] == [1, 1, 1, 1]
    for name in ("slow", "fast"):
        site.services.fleet.set_enabled(name, False)
    async with asyncio.timeout(20):
        await site.services.fleet.is_serving.until(lambda is_serving: not is_serving)
    assert [await health(site, name) for name in (*names, "liveness")] == [2, 2, 2, 1]
    with pytest.raises(grpc.aio.AioRpcError):
        await health(site, "unheard-of")
