"""compute.v1.ComputeService: what each call asks for, what it tells, and how it ends."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from ollama_proxyd.core.cache_control import CacheControl
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.trace_context import NO_TRACE, Trace
from ollama_proxyd.edges.grpc_api import compute_pb2 as pb
from ollama_proxyd.edges.grpc_api import guard, telling
from ollama_proxyd.edges.grpc_api.failures import CODES
from ollama_proxyd.edges.grpc_api.server import MOST_MESSAGE_BYTES
from ollama_proxyd.edges.grpc_api.settings import Door
from ollama_proxyd.edges.plumbing import access, peers
from ollama_proxyd.edges.plumbing.access import AccessRules, OtherUsers
from tests.edges.grpc_api.conftest import Serve, Site
from tests.fakes import FakeBackend, vectors, words


def asked(**fields: Any) -> Any:
    return pb.GenerateRequest(**{"model": "tiny", "prompt": "hello", **fields})


async def streamed(site: Site, request: Any = None) -> list[Any]:
    return [each async for each in site.call("GenerateStream", request or asked())]


async def test_a_whole_answer_has_its_words_its_way_and_its_sums(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(("logit_bias",)), Delta(thinking="Hm"), *words("Hello", " you")[1:]))
    told = await site.call("Generate", asked())
    assert (told.response, told.thinking, told.backend_used, told.routing.backend) == ("Hello you", "Hm", "npu", "npu")
    assert told.routing.reason
    assert told.routing.estimated_power_watts == 3.0
    assert list(told.routing.ignored_fields) == ["logit_bias"]
    assert (told.stats.tokens_generated, told.stats.prompt_tokens, told.stats.finish_reason) == (2, 3, "stop")
    assert told.stats.HasField("energy_wh")
    assert told.stats.energy_source
    assert told.stats.total_time_ms >= told.stats.time_to_first_token_ms


async def test_what_is_not_known_is_not_set(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta(text="Hi"), Finished()))
    told = await site.call("Generate", asked())
    assert not any(told.stats.HasField(name) for name in ("tokens_generated", "tokens_per_second", "prompt_tokens"))
    (backend,) = (await site.call("ListBackends", pb.ListBackendsRequest())).backends
    assert not any(backend.metrics.HasField(name) for name in ("requests_per_minute", "power_watts"))
    assert not backend.capabilities.HasField("max_context")


async def test_a_stream_has_its_way_in_the_first_message_and_its_sums_in_the_last(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *words("Hello", " you")))
    first, second, last = await streamed(site)
    assert (first.token, first.backend_used, first.routing.backend, first.done) == ("Hello", "npu", "npu", False)
    assert (second.token, second.backend_used, second.HasField("routing")) == (" you", "", False)
    assert (last.done, last.stats.tokens_generated, last.token) == (True, 2, "")


async def test_an_answer_without_words_tells_its_way_too(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Finished()))
    (only,) = await streamed(site)
    assert (only.done, only.backend_used, only.routing.backend) == (True, "npu", "npu")


async def test_options_and_annotations_reach_the_request(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE_S", 30.0)
    backend = FakeBackend("npu")
    site = await serve(backend)
    options = pb.GenerationOptions(max_tokens=5, temperature=0.7, top_p=0, top_k=40, stop=["x"], context_length=2048)
    annotations = pb.JobAnnotations(
        target="npu",
        latency_critical=True,
        prefer_power_efficiency=True,
        cache_enabled=False,
        max_latency_ms=9000,
        max_power_watts=15,
        custom={"media_type": "code", "strict_limits": "true", "other": "x"},
        priority="high",
        deadline_unix_ms=9_999_999_999_999,
    )
    await site.call("Generate", asked(options=options, annotations=annotations))
    request, _ = backend.requests[0]
    assert request.content().options.known == {
        "max_tokens": 5, "temperature": 0.7, "top_p": 0.0, "top_k": 40, "stop": ["x"], "num_ctx": 2048
    }  # fmt: skip
    hints = request.hints
    assert (hints.target, hints.latency_critical, hints.power_efficient) == ("npu", True, True)
    assert (hints.max_latency_ms, hints.max_power_watts, hints.priority) == (9000, 15, Priority.HIGH)
    assert (hints.deadline_ms, hints.strict_limits) == (9_999_999_999_999, True)
    assert hints.cache == CacheControl(may_take=False, may_keep=False)
    assert hints.asker.program.name


@pytest.mark.parametrize("target", ["", "auto"])
async def test_what_is_not_asked_for_is_left_open(serve: Serve, target: str) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    await site.call("Generate", asked(annotations=pb.JobAnnotations(target=target)))
    request, _ = backend.requests[0]
    assert request.content().options.known == {}
    hints = request.hints
    assert (hints.target, hints.priority, hints.max_power_watts, hints.deadline_ms) == (None, None, None, None)
    assert hints.cache == CacheControl()


async def test_a_text_is_embedded(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *vectors((0.5, -1.0))))
    told = await site.call("Embed", pb.EmbedRequest(model="tiny", text="hello"))
    assert (list(told.embedding), told.backend_used, told.routing.backend) == ([0.5, -1.0], "npu", "npu")


@pytest.mark.parametrize("wanted", ["", "Ollama", "NPU"])
async def test_backends_are_listed_by_type_and_hardware(serve: Serve, wanted: str) -> None:
    site = await serve(FakeBackend("npu"))
    (backend,) = (await site.call("ListBackends", pb.ListBackendsRequest(type_filter=wanted))).backends
    assert (backend.id, backend.type, backend.hardware, backend.status.state) == ("npu", "ollama", "npu", "healthy")
    assert list(backend.capabilities.models) == ["tiny:latest"]
    assert not (await site.call("ListBackends", pb.ListBackendsRequest(type_filter="nvidia"))).backends


async def test_health_is_told_in_the_words_of_the_earlier_proxy_and_of_grpc(serve: Serve) -> None:
    up, down = FakeBackend("npu"), FakeBackend("cpu")
    down.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    site = await serve(up, down)
    told = await site.call("HealthCheck", pb.HealthCheckRequest())
    assert (told.status, dict(told.backend_health)) == ("degraded", {"npu": "healthy", "cpu": "unhealthy"})
    stub = health_pb2_grpc.HealthStub(site.channel)
    for name in ("", "compute.v1.ComputeService"):
        watching = stub.Watch(health_pb2.HealthCheckRequest(service=name))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        up.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
        await site.services.health.check_all()
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()
        up.down = None
        await site.services.health.check_all()


async def test_reflection_describes_the_service(serve: Serve) -> None:
    site = await serve()
    with grpc.insecure_channel(f"127.0.0.1:{site.server.port}") as channel:

        def described() -> tuple[Any, Any]:
            found = ProtoReflectionDescriptorDatabase(channel)
            return found.get_services(), found.FindFileContainingSymbol("compute.v1.ComputeService")

        services, file = await asyncio.to_thread(described)
    assert {"compute.v1.ComputeService", "grpc.health.v1.Health"} <= {*services}
    assert "GenerateStream" in [method.name for method in file.service[0].method]


@pytest.mark.parametrize("name", ["ExecutePipeline", "ExecutePipelineStream"])
async def test_pipelines_are_refused_in_a_sentence(serve: Serve, name: str) -> None:
    site = await serve()
    failure = await site.failure(name, pb.ExecutePipelineRequest(pipeline_id="x"))
    assert (failure.code(), "call Generate for each stage" in failure.details()) == (StatusCode.UNIMPLEMENTED, True)


@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        (asked(prompt=""), StatusCode.INVALID_ARGUMENT, "prompt"),
        (asked(model=""), StatusCode.INVALID_ARGUMENT, "model"),
        (asked(model="none"), StatusCode.NOT_FOUND, "none"),
        (asked(annotations=pb.JobAnnotations(target="none")), StatusCode.NOT_FOUND, "none"),
        (asked(annotations=pb.JobAnnotations(priority="urgent")), StatusCode.INVALID_ARGUMENT, "priority"),
        (asked(annotations=pb.JobAnnotations(max_power_watts=-1)), StatusCode.INVALID_ARGUMENT, "max_power_watts"),
        (asked(annotations=pb.JobAnnotations(max_power_watts=1)), StatusCode.FAILED_PRECONDITION, "W"),
        (asked(annotations=pb.JobAnnotations(deadline_unix_ms=1)), StatusCode.DEADLINE_EXCEEDED, "deadline"),
        (asked(prompt="x" * 3000), StatusCode.RESOURCE_EXHAUSTED, "server.max_body_bytes"),
        (asked(prompt="x" * MOST_MESSAGE_BYTES), StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
        (asked(options=pb.GenerationOptions(temperature=float("inf"))), None, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["Generate", "GenerateStream"])
async def test_what_cannot_be_done_has_its_status(
    serve: Serve, name: str, request_: Any, code: StatusCode | None, told: str
) -> None:
    site = await serve(FakeBackend("npu"), door=Door("127.0.0.1", 2000, names_programs=False))
    if code is not None:
        failure = await site.failure(name, request_)
        assert (failure.code(), told in failure.details()) == (code, True), failure
    assert (await site.call("Generate", asked())).response == "Hello world"


def test_every_kind_of_error_has_a_status() -> None:
    assert CODES.keys() == {*ErrorKind}


async def test_what_is_no_message_and_what_is_no_number_is_the_callers_fault(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(FakeBackend("npu"))
    for name, raw in (("Generate", site.channel.unary_unary), ("GenerateStream", site.channel.unary_stream)):
        call = raw(f"/compute.v1.ComputeService/{name}")(b"\xff\xff\xff\xff")
        assert await call.code() is StatusCode.INVALID_ARGUMENT
    for value in (float("nan"), float("inf")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await site.call("Generate", asked(options=pb.GenerationOptions(temperature=value)))
        assert refused.value.code() is StatusCode.INVALID_ARGUMENT
        assert "temperature" in refused.value.details()
    assert "Traceback" not in caplog.text


async def test_a_fault_in_the_middle_ends_the_stream_after_what_was_said(serve: Serve) -> None:
    gone = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone", retry_after_s=2.0)
    site = await serve(FakeBackend("npu", *words("Hi")[:-1], gone))
    call = site.call("GenerateStream", asked())
    assert (await call.read()).token == "Hi"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is StatusCode.UNAVAILABLE
    trailers = dict(caught.value.trailing_metadata())
    assert (trailers["x-error-code"], trailers["grpc-retry-pushback-ms"]) == ("upstream_failed", "2000")


@pytest.mark.parametrize(
    "error",
    [
        ProxyError(ErrorKind.UPSTREAM_REJECTED, "no credit", status=429, retry_after_s=20.0),
        ProxyError(ErrorKind.UPSTREAM_FAILED, "gone", retry_after_s=1e12),
        ProxyError(ErrorKind.UPSTREAM_FAILED, "gone", retry_after_s=0.0),
    ],
)
async def test_nobody_is_told_to_wait_for_what_waiting_does_not_cure(serve: Serve, error: ProxyError) -> None:
    site = await serve(FakeBackend("npu", error))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await site.call("GenerateStream", asked()).read()
    assert "grpc-retry-pushback-ms" not in dict(caught.value.trailing_metadata())


async def test_a_fault_of_the_proxy_is_told_and_logged_and_ends_nothing_else(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve()

    def fails(*_: object) -> None:
        raise RuntimeError("boom")

    with monkeypatch.context() as broken:
        broken.setattr(telling, "stats", fails)
        failure = await site.failure("Generate", asked())
    assert (failure.code(), "boom" in failure.details()) == (StatusCode.INTERNAL, False)
    assert "a gRPC call failed by a fault of the proxy" in caplog.text
    assert (await site.call("Generate", asked())).response == "Hello world"


@pytest.mark.parametrize("name", ["Generate", "GenerateStream"])
async def test_a_client_that_leaves_frees_its_backend(serve: Serve, name: str) -> None:
    backend = FakeBackend("npu", Accepted(), Delta(text="Hi"), asyncio.Event(), Finished())
    site = await serve(backend)
    call = site.call(name, asked())
    reading = asyncio.create_task(call.read() if name == "GenerateStream" else call.code())
    async with asyncio.timeout(60):
        await backend.opened.wait()
        call.cancel()
        await backend.closed.wait()
    await asyncio.gather(reading, return_exceptions=True)
    assert backend.open == 0


@pytest.mark.parametrize("name", ["Generate", "GenerateStream"])
async def test_a_deadline_is_passed_on_and_frees_the_backend(serve: Serve, name: str) -> None:
    backend = FakeBackend("nvidia", Accepted(), Delta(text="Hi"), asyncio.Event(), Finished())
    site = await serve(backend)
    call = site.call(name, asked(), timeout=3)
    assert await call.code() is StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(60):
        await backend.closed.wait()
    left_ms = (backend.requests[0][0].hints.deadline_ms or 0) - site.services.clock.unix() * 1000
    assert 0 < left_ms < 3100


async def test_a_token_is_asked_for_in_the_metadata_of_every_service(serve: Serve) -> None:
    site = await serve(rules=AccessRules(token="secret"))
    stub = health_pb2_grpc.HealthStub(site.channel)
    for metadata in ((), (("authorization", "Bearer wrong"),)):
        failure = await site.failure("GenerateStream", asked(), metadata=metadata)
        assert failure.code() is StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Check(health_pb2.HealthCheckRequest(), metadata=metadata)
    for metadata in ((("authorization", "Bearer secret"),), (("x-api-key", "secret"),)):
        assert (await site.call("Generate", asked(), metadata=metadata)).response == "Hello world"
        await stub.Check(health_pb2.HealthCheckRequest(), metadata=metadata)
    site.rules.set(AccessRules())
    assert (await site.call("Generate", asked())).response == "Hello world"


async def test_other_users_of_the_machine_are_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await serve()
    monkeypatch.setattr(access, "served_uids", lambda: frozenset({2**31}))
    assert not peers.is_hidden(2**31)
    failure = await site.failure("Generate", asked())
    assert (failure.code(), "other_users" in failure.details()) == (StatusCode.PERMISSION_DENIED, True)
    site.rules.set(AccessRules(other_users=OtherUsers.ALLOW))
    assert (await site.call("Generate", asked())).response == "Hello world"


async def test_a_request_has_the_name_that_its_client_gave_it(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    call = site.call("Generate", asked(), metadata=(("x-request-id", "mine"),))
    await call
    assert dict(await call.initial_metadata())["x-request-id"] == backend.requests[0][0].hints.request_id == "mine"
    failure = await site.failure("Generate", asked(), metadata=(("x-request-id", "x" * 129),))
    assert failure.code() is StatusCode.INVALID_ARGUMENT


async def test_a_clients_place_in_a_trace_goes_on_with_its_request(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    trace = Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1")
    told = (("traceparent", trace.traceparent), ("tracestate", trace.tracestate))
    await site.call("Generate", asked(), metadata=told)
    await site.call("Generate", asked(), metadata=(("traceparent", "no"), told[1]))
    assert [request.hints.trace for request, _ in backend.requests] == [trace, NO_TRACE]


async def test_two_servers_do_not_share_a_port(serve: Serve) -> None:
    site = await serve()
    with pytest.raises(ProxyError, match=r"server\.grpc_port") as caught:
        await type(site.server)(
            site.services, type(site.server._settings)(site.server.port), site.rules, site.server._door.value
        ).start()
    assert caught.value.code == "port_taken"
