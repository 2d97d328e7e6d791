"""What attempts came to reaches a collector of OpenTelemetry, and no word of a prompt or an answer with it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.attempts import AttemptEnded
from tests.app.conftest import Running, Start
from tests.app.test_reload import CALM, END, FRAME
from tests.real_things import ROOT
from tests.upstreams.engines import openai_list
from tests.upstreams.fake_engines import FakeEngine, Says, serving, serving_at, streams

TAKEN = Says(b"", headers={"Content-Type": "application/x-protobuf"})
SECRET = "the frog sings at noon"


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    chat = streams(FRAME, END, content_type="text/event-stream")
    routes = {"GET /v1/models": Says(openai_list("m")), "POST /v1/chat/completions": chat}
    async with serving(FakeEngine(routes)) as engine:
        yield engine


@pytest.fixture
async def collector() -> AsyncIterator[FakeEngine]:
    async with serving(FakeEngine({"POST /v1/traces": TAKEN, "POST /v1/metrics": TAKEN})) as collector:
        yield collector


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches go out almost at once."""
    monkeypatch.setattr("ollama_proxyd.edges.telemetry.exporter.BATCH_S", 0.05)


def config(engine: FakeEngine, collector: FakeEngine | None, **telemetry: Any) -> dict[str, Any]:
    backend = {"id": "box", "type": "openai", "endpoint": engine.url}
    told = {} if collector is None else {"telemetry": {"otlp_endpoint": collector.url, **telemetry}}
    return {**CALM, "backends": [backend], "routing": {"retries": 0}, **told}


async def ask(running: Running, number: int = 1, headers: dict[str, str] | None = None) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": SECRET}], "stream": True}

    async def one() -> None:
        async with running.client.post(
            f"{running.daemon.url}/v1/chat/completions", json=body, headers=headers
        ) as reply:
            assert reply.status == 200
            await reply.read()

    await asyncio.gather(*(one() for _ in range(number)))


T = TypeVar("T")


async def until(there: Callable[[], T]) -> T:
    """The first outcome that is something."""
    async with asyncio.timeout(30):
        while True:
            if found := there():
                return found
            await asyncio.sleep(0.05)


async def heard(collector: FakeEngine, path: str) -> list[bytes]:
    """What came there, once something has."""
    return await until(lambda: asked(collector, path))


def asked(collector: FakeEngine, path: str) -> list[bytes]:
    """The bodies that came there."""
    return [each.body for each in collector.asked if each.path == path]


def spans(collector: FakeEngine) -> list[Any]:
    """Those that came, in however many batches."""
    bodies = asked(collector, "/v1/traces")
    told = [ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0] for body in bodies]
    return [span for each in told for span in each.spans]


def metrics(collector: FakeEngine) -> dict[str, Any]:
    """Those that came last, which count from the beginning on."""
    *_, body = asked(collector, "/v1/metrics") or [b""]
    return {
        each.name: each
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for each in scope.metrics
    }


def counted(collector: FakeEngine) -> int:
    """How many attempts they tell of."""
    found = metrics(collector).get("gen_ai.client.operation.duration")
    return 0 if found is None else sum(each.count for each in found.histogram.data_points)


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


async def test_each_attempt_is_a_span_and_counts_in_metrics_without_a_word_of_it(
    start: Start, engine: FakeEngine, collector: FakeEngine
) -> None:
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running, 20)
    await until(lambda: counted(collector) == 20)
    assert [each.name for each in spans(collector)] == ["chat m"] * 20
    span, facts = spans(collector)[0], attributes(spans(collector)[0])
    assert (facts["gen_ai.operation.name"], facts["ollama_proxyd.backend"]) == ("chat", "box")
    assert facts["ollama_proxyd.energy_joules"] >= 0
    assert span.start_time_unix_nano < span.end_time_unix_nano
    assert metrics(collector)["ollama_proxyd.energy"].unit == "J"
    everything = b"".join(each.body for each in collector.asked)
    assert not any(word.encode() in everything for word in SECRET.split() if len(word) > 3)


@pytest.mark.parametrize("refused", ["traces", "metrics"])
async def test_a_collector_that_takes_but_one_of_them_gets_it_and_the_other_is_told_once(
    start: Start, engine: FakeEngine, collector: FakeEngine, lines: list[str], soon: None, refused: str
) -> None:
    collector.routes[f"POST /v1/{refused}"] = Says("no", 404)
    running = await start(config(engine, collector), Demo.NEVER)
    for count in range(1, 4):
        await ask(running)
        await until(lambda: len(asked(collector, f"/v1/{refused}")) >= count)  # noqa: B023 - is awaited here
    assert {each.path for each in collector.asked} == {"/v1/traces", "/v1/metrics"}
    (told,) = [each for each in lines if "answered with HTTP status 404" in each]
    assert f"/v1/{refused}" in told
    assert "is lost" in told
    collector.routes[f"POST /v1/{refused}"] = TAKEN
    await ask(running)
    assert len(await until(lambda: [each for each in lines if "takes telemetry again" in each])) == 1


async def test_a_collector_that_is_not_there_costs_no_answer_and_gets_what_waited_once_it_is(
    start: Start, engine: FakeEngine, lines: list[str], soon: None
) -> None:
    async with serving(FakeEngine({})) as gone:
        pass
    running = await start(config(engine, gone), Demo.NEVER)
    await ask(running, 3)
    await until(lambda: len([each for each in lines if "cannot be reached" in each]) == 2)  # spans, and metrics
    await ask(running, 2)
    await asyncio.sleep(0.3)
    assert len([each for each in lines if "cannot be reached" in each]) == 2
    gone.routes = {"POST /v1/traces": TAKEN, "POST /v1/metrics": TAKEN}
    async with serving(gone) as collector:
        await ask(running)
        await until(lambda: len(spans(collector)) == 6 == counted(collector))


@pytest.mark.parametrize(("status", "sent"), [(503, 2), (400, 1)])
async def test_a_batch_is_sent_again_where_the_collector_wants_it_later_and_not_where_it_refuses_it(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None, status: int, sent: int
) -> None:
    collector.routes["POST /v1/traces"] = Says(b"", status)
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running)
    await heard(collector, "/v1/traces")
    collector.routes["POST /v1/traces"] = TAKEN
    collector.asked.clear()
    await ask(running)
    await heard(collector, "/v1/traces")
    assert len(spans(collector)) == sent


async def test_a_collector_that_does_not_answer_gets_one_batch_at_a_time_and_holds_up_no_end(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_proxyd.edges.telemetry.exporter.ANSWER_S", 600.0)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    collector.routes = dict.fromkeys(collector.routes, silent)
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running)
    await until(lambda: len(collector.asked) == 2)
    await ask(running)
    async with asyncio.timeout(30):
        await running.rewrite(config(engine, None))
        await collector.left.wait()
        await running.daemon.stop()
    assert len(collector.asked) == 2


async def test_a_collector_may_be_behind_a_unix_socket(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None, tmp_path: Path
) -> None:
    async with serving_at(FakeEngine(dict(collector.routes)), tmp_path / "otlp.sock") as behind:
        told = {"otlp_endpoint": f"unix:{tmp_path}/otlp.sock"}
        running = await start({**config(engine, None), "telemetry": told}, Demo.NEVER)
        await ask(running)
        await until(lambda: len(spans(behind)) == 1 == counted(behind))


async def test_headers_that_a_collector_wants_come_from_the_environment(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Token=a%20b,api-key=c")
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running)
    await heard(collector, "/v1/metrics")
    (told,) = {(each.headers["x-token"], each.headers["api-key"]) for each in collector.asked}
    assert told == ("a b", "c")


async def test_a_collector_that_sends_elsewhere_is_not_followed(
    start: Start, engine: FakeEngine, collector: FakeEngine, lines: list[str], soon: None
) -> None:
    elsewhere = Says(b"", 307, {"Location": f"{collector.url}/elsewhere"})
    collector.routes |= {"POST /v1/traces": elsewhere, "POST /elsewhere": TAKEN}
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running)
    await until(lambda: [each for each in lines if "redirects are not followed" in each])
    assert {each.path for each in collector.asked} <= {"/v1/traces", "/v1/metrics"}


async def test_a_reload_has_another_collector_told_and_the_first_gets_what_waited(
    start: Start, engine: FakeEngine, collector: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_proxyd.edges.telemetry.exporter.BATCH_S", 600.0)
    async with serving(FakeEngine(dict(collector.routes))) as second:
        running, booked = await start(config(engine, collector), Demo.NEVER), list[AttemptEnded]()
        running.services.energy.booked.listen(booked.append)
        await ask(running)
        await until(lambda: booked)
        monkeypatch.setattr("ollama_proxyd.edges.telemetry.exporter.BATCH_S", 0.05)
        await running.rewrite(config(engine, second))
        await until(lambda: len(spans(collector)) == 1 == counted(collector))
        await ask(running, 2)
        await until(lambda: len(spans(second)) == 2 == counted(second))
        assert len(spans(collector)) == 1 == counted(collector)


async def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = "import sys, ollama_proxyd.app.daemon; sys.exit('opentelemetry' in sys.modules)"
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await program.wait() == 0


async def test_a_missing_package_is_named_and_costs_nothing_else(
    start: Start, engine: FakeEngine, collector: FakeEngine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ollama_proxyd.edges.telemetry.exporter", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running)
    (told,) = [each for each in lines if "is not installed" in each]
    assert "install ollama-proxyd[otlp]" in told


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "is_continued"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"cc-{TRACE}-{SPAN}-01-more", True), ("nonsense", False), (None, False)],
)
async def test_a_span_continues_its_clients_trace_and_is_the_parent_of_what_its_engine_does(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None, given: str | None, is_continued: bool
) -> None:
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running, headers={} if given is None else {"traceparent": given, "tracestate": "a=1"})
    await heard(collector, "/v1/traces")
    (span,) = spans(collector)
    assert (span.trace_id.hex() == TRACE, span.parent_span_id.hex() == SPAN) == (is_continued, is_continued)
    told = {"traceparent": f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"}
    assert traced(engine) == told | ({"tracestate": "a=1"} if is_continued else {})


def traced(engine: FakeEngine) -> dict[str, str]:
    """What an engine was told of the trace of a chat."""
    (headers,) = [each.headers for each in engine.asked if each.method == "POST"]
    return {name.lower(): each for name, each in headers.items() if name.lower().startswith("trace")}


async def test_what_a_client_has_not_sampled_is_counted_and_not_traced(
    start: Start, engine: FakeEngine, collector: FakeEngine, soon: None
) -> None:
    running = await start(config(engine, collector), Demo.NEVER)
    await ask(running, headers={"traceparent": (given := f"00-{TRACE}-{SPAN}-00")})
    await until(lambda: counted(collector))
    assert not spans(collector)
    assert traced(engine) == {"traceparent": given}, "its client's own span is the parent"
