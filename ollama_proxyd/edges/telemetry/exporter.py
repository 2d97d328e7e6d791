"""Tells a collector of each attempt: a span, and what it adds to the metrics; no words, and no program's name."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Status, StatusCode
from requests import Session

from ollama_proxyd import __version__
from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.history import decided, name
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

BATCH_S: Final = 3.0
"""So long an attempt waits for others; nothing wakes while there are none."""
MOST_WAITING: Final = 2048
"""Beyond them the oldest are forgotten."""
ANSWER_S: Final = 10
"""So long the collector may take."""
NS_PER_S: Final = 10**9
OPERATIONS: Final = {
    Operation.CHAT: "chat",
    Operation.COMPLETION: "text_completion",
    Operation.EMBEDDING: "embeddings",
}
"""The names of OpenTelemetry's conventions for generative AI; others go by their own."""


class _Ended(SpanProcessor):
    """Keeps spans until they are sent."""

    def __init__(self) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=MOST_WAITING)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep one."""
        self.spans.append(span)


class OtlpExporter:
    """Sends batches from a thread; one under way at a time."""

    def __init__(self, endpoint: str, clock: Clock) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what fails is told here, once
        resource = Resource({"service.name": "ollama-proxyd", "service.version": __version__})
        self._endpoint, self._clock = endpoint, clock
        self._ended, base = _Ended(), endpoint.rstrip("/")
        session = Session()
        session.max_redirects, session.trust_env = 0, False  # it is sent where the configuration says, and nowhere else
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", timeout=ANSWER_S, session=session)
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(self._ended)
        self._tracer = self._traces.get_tracer("ollama_proxyd", __version__)
        metrics = OTLPMetricExporter(f"{base}/v1/metrics", timeout=ANSWER_S, session=session)
        self._reader = PeriodicExportingMetricReader(metrics, math.inf)  # it has no clock of its own
        self._meters = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        meter = self._meters.get_meter("ollama_proxyd", __version__)
        self._durations = meter.create_histogram("gen_ai.client.operation.duration", "s", "How long attempts took")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of attempts")
        self._joules = meter.create_counter("ollama_proxyd.energy", "J", "What attempts cost")
        self._begun, self._tasks = asyncio.Event(), Tasks("telemetry")
        self._is_heard = True
        self._tasks.start("send", self._send_soon())

    def note(self, ended: AttemptEnded) -> None:
        """Take note of an attempt, once its energy is in the books."""
        facts, since_s = _facts(ended), self._clock.unix() - self._clock.monotonic()
        span = self._tracer.start_span(
            f"{facts['gen_ai.operation.name']} {facts['gen_ai.request.model']}",
            start_time=int((since_s + ended.begun_s) * NS_PER_S),
            attributes={**facts, **_figures(ended)},
        )
        if ended.error is not None:
            span.set_status(Status(StatusCode.ERROR, ended.error.value))
        span.end(int((since_s + ended.ended_s) * NS_PER_S))
        self._durations.record(ended.busy_s, facts)
        for kind, tokens in (("input", ended.usage.prompt_tokens), ("output", ended.usage.completion_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, {**facts, "gen_ai.token.type": kind})
        self._joules.add(ended.energy.total_j, {**facts, "ollama_proxyd.energy.source": ended.energy.source.value})
        self._begun.set()

    async def _send_soon(self) -> None:
        while True:
            await self._begun.wait()
            await self._clock.sleep(BATCH_S)
            self._begun.clear()
            await asyncio.to_thread(self._send)

    def _send(self) -> None:
        """Send what waits; what the collector does not take is lost, and told once."""
        spans = [self._ended.spans.popleft() for _ in range(len(self._ended.spans))]
        is_heard = self._spans.export(spans) is SpanExportResult.SUCCESS if spans else self._is_heard
        if is_heard:
            self._reader.collect(ANSWER_S * 1000)
        if is_heard is not self._is_heard:
            said = "takes telemetry again" if is_heard else "takes no telemetry: what attempts came to is lost there"
            log.log(logging.INFO if is_heard else logging.WARNING, "%s %s", self._endpoint, said)
        self._is_heard = is_heard

    async def close(self) -> None:
        """Send what waits, if the collector is there."""
        await self._tasks.close()
        if self._is_heard:
            await asyncio.to_thread(self._send)
        await asyncio.to_thread(self._spans.shutdown)


def _facts(ended: AttemptEnded) -> Mapping[str, str]:
    """What tells attempts apart: few values, none of them a person's."""
    mode = decided(ended.decision).get("effective_mode")
    facts = {
        "gen_ai.operation.name": OPERATIONS.get(ended.operation, ended.operation.value),
        "gen_ai.provider.name": "ollama-proxyd",
        "gen_ai.request.model": name(ended.model),
        "ollama_proxyd.backend": ended.backend_id,
        "error.type": None if ended.error is None else ended.error.value,
        "ollama_proxyd.mode": mode,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _figures(ended: AttemptEnded) -> Mapping[str, Any]:
    """What one attempt came to."""
    figures = {
        "gen_ai.usage.input_tokens": ended.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": ended.usage.completion_tokens,
        "ollama_proxyd.energy_joules": ended.energy.total_j,
        "ollama_proxyd.energy_source": ended.energy.source.value,
        "ollama_proxyd.time_to_first_words_s": None if ended.first_s is None else ended.first_s - ended.begun_s,
        "ollama_proxyd.cancelled": ended.cancelled,
        "ollama_proxyd.resumed": ended.resumed,
        "http.response.status_code": ended.status,
    }
    return {key: value for key, value in figures.items() if value is not None}
