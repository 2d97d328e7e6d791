"""Tells a collector of each attempt: a span, and what it adds to the metrics; no words, and no program's name."""

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.re import parse_env_headers

from ollama_proxyd import __version__
from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.history import decided, name
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.trace_context import Trace
from ollama_proxyd.edges.plumbing.http import HttpClient, Timeouts
from ollama_proxyd.edges.telemetry.signal import Signal
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

BATCH_S: Final = 3.0
"""So long an attempt waits for others; nothing wakes while there are none."""
MOST_WAITING: Final = 2048
"""Beyond them the oldest are forgotten."""
ANSWER_S: Final = 10.0
"""So long the collector may take."""
CLOSE_S: Final = 2.0
"""So long the end of the exporter may take in all."""
NS_PER_S: Final = 10**9
OPERATIONS: Final = {
    Operation.CHAT: "chat",
    Operation.COMPLETION: "text_completion",
    Operation.EMBEDDING: "embeddings",
}
"""The names of OpenTelemetry's conventions for generative AI; others go by their own."""


class _Ended(SpanProcessor):
    """Keeps spans until they are taken."""

    def __init__(self) -> None:
        self._spans: deque[ReadableSpan] = deque(maxlen=MOST_WAITING)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep one."""
        self._spans.append(span)

    def take(self) -> Sequence[ReadableSpan]:
        """All that wait; they wait no longer."""
        spans = tuple(self._spans)
        self._spans.clear()
        return spans

    def give_back(self, spans: Sequence[ReadableSpan]) -> None:
        """Have them wait again, before what has come since."""
        newer = self.take()
        self._spans.extend((*spans, *newer))


class _Ids(RandomIdGenerator):
    """Gives a span the ids that its backend was told."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def place(self, trace: Trace) -> str:
        """Take what was told for the next span; the place above it."""
        self._trace_id = self._span_id = 0
        if trace.above is None:
            return trace.traceparent
        _, trace_id, span_id, _ = trace.traceparent.split("-")
        self._trace_id, self._span_id = int(trace_id, 16), int(span_id, 16)
        return trace.above

    def generate_trace_id(self) -> int:
        """That of a trace which a span begins."""
        return self._trace_id or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """That of a span."""
        return self._span_id or super().generate_span_id()


class OtlpExporter:
    """Sends batches, one at a time; spans and metrics go each by itself, for a collector may take but one."""

    def __init__(self, endpoint: str, clock: Clock) -> None:
        resource = Resource({"service.name": "ollama-proxyd", "service.version": __version__})
        self._clock, self._ended = clock, _Ended()
        self._http = HttpClient(Timeouts(first_byte_s=ANSWER_S))
        headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
        self._spans = Signal(self._http, endpoint, "/v1/traces", headers)
        self._metrics = Signal(self._http, endpoint, "/v1/metrics", headers)
        self._ids = _Ids()
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._traces.add_span_processor(self._ended)
        self._tracer = self._traces.get_tracer("ollama_proxyd", __version__)
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        meter = self._meters.get_meter("ollama_proxyd", __version__)
        self._durations = meter.create_histogram("gen_ai.client.operation.duration", "s", "How long attempts took")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of attempts")
        self._joules = meter.create_counter("ollama_proxyd.energy", "J", "What attempts cost")
        self._begun, self._sending, self._tasks = asyncio.Event(), asyncio.Lock(), Tasks("telemetry")
        self._tasks.start("send", self._send_soon())

    def note(self, ended: AttemptEnded) -> None:
        """Take note of an attempt, once its energy is in the books."""
        facts, since_s = _facts(ended), self._clock.unix() - self._clock.monotonic()
        above = self._ids.place(ended.trace)
        span = self._tracer.start_span(
            f"{facts['gen_ai.operation.name']} {facts['gen_ai.request.model']}",
            _parent(above, ended.trace.tracestate),
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
            await self._send()

    async def _send(self) -> None:
        """Send what waits; metrics count from the beginning on, so that a later batch has what an earlier one had."""
        async with self._sending:
            await asyncio.gather(self._send_spans(), self._send_metrics())

    async def _send_spans(self) -> None:
        if spans := self._ended.take():
            body = await asyncio.to_thread(lambda: encode_spans(spans).SerializeToString())
            if not await self._spans.send(body):
                self._ended.give_back(spans)

    async def _send_metrics(self) -> None:
        if (found := self._reader.get_metrics_data()) is not None:
            body = await asyncio.to_thread(lambda: encode_metrics(found).SerializeToString())
            await self._metrics.send(body)

    async def close(self) -> None:
        """Send what waits, after what is under way, as far as that can be done at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._send()
        await self._tasks.close()
        await self._http.close()
        self._meters.shutdown()
        self._traces.shutdown()


def _parent(traceparent: str, tracestate: str) -> Context:
    """The client's span, where it told of one; whether it is recorded counts for ours too."""
    if not traceparent:
        return Context()
    _, trace, span, flags = traceparent.split("-")
    state = TraceState.from_header([tracestate])
    told = SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags, 16)), state)
    return set_span_in_context(NonRecordingSpan(told), Context())


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
