"""compute.v1.ComputeService over the services that every door uses."""

import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial, wraps
from typing import Any, Final, NamedTuple, NoReturn, cast

import grpc

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.fleet_summary import expected
from ollama_proxyd.core.programs import UNKNOWN
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.trace_context import read_trace
from ollama_proxyd.core.values import replace
from ollama_proxyd.edges.grpc_api import compute_pb2 as pb
from ollama_proxyd.edges.grpc_api import telling
from ollama_proxyd.edges.grpc_api.failures import abort
from ollama_proxyd.edges.grpc_api.guard import Callers
from ollama_proxyd.edges.grpc_api.reading import read_chat, read_hints, read_text
from ollama_proxyd.edges.grpc_api.settings import Door
from ollama_proxyd.edges.plumbing.hint_headers import TRACEPARENT, TRACESTATE
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.large import off_loop

log = logging.getLogger(__name__)

MOST_ID_CHARACTERS: Final = 128
REQUEST_ID: Final = "x-request-id"

Call = Callable[["ComputeService", Any, Any], Awaitable[Any]]


class Answer(NamedTuple):
    """An answer that has begun, and the rest of it."""

    first: Routed
    events: AsyncGenerator[Event, None]


def ending_well(call: Call) -> Call:
    """A call whose failures end it with their status; a fault of ours ends this call alone."""

    @wraps(call)
    async def answer(self: "ComputeService", message: Any, context: Any) -> Any:
        try:
            return await call(self, message, context)
        except ProxyError as error:
            failure = error
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a gRPC call failed by a fault of the proxy")
            failure = ProxyError(ErrorKind.INTERNAL, "the proxy failed; see its log")
        return await abort(context, failure)

    return answer


class ComputeService:
    """The calls, each by its name in the service."""

    def __init__(self, services: Services, callers: Callers, door: Cell[Door]) -> None:
        self._services = services
        self._callers = callers
        self._door = door

    @ending_well
    async def Generate(self, message: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        """Answer a prompt in one piece."""
        begun_s = time.monotonic()
        text: list[str] = []
        thinking: list[str] = []
        ttft_s: float | None = None
        told = pb.GenerateResponse()
        async with self._answering(message, context, read_chat) as (first, events):
            async for event in events:
                if isinstance(event, Delta):
                    ttft_s = ttft_s or time.monotonic() - begun_s
                    text.append(event.text)
                    thinking.append(event.thinking)
                elif isinstance(event, Finished):
                    told.stats.CopyFrom(telling.stats(event, time.monotonic() - begun_s, ttft_s))
        told.response, told.thinking, told.backend_used = "".join(text), "".join(thinking), first.backend_id
        told.routing.CopyFrom(telling.routing(first))
        told.from_cache = first.is_hit is True
        return told

    @ending_well
    async def GenerateStream(self, message: Any, context: Any) -> None:  # noqa: N802 - the name of the call
        """Answer a prompt piece by piece."""
        begun_s = time.monotonic()
        ttft_s: float | None = None
        async with self._answering(message, context, read_chat) as (first, events):
            head = {"backend_used": first.backend_id, "routing": telling.routing(first)}
            async for event in events:
                if isinstance(event, Delta) and (event.text or event.thinking):
                    ttft_s = ttft_s or time.monotonic() - begun_s
                    await context.write(pb.GenerateStreamResponse(token=event.text, thinking=event.thinking, **head))
                    head = {}
                elif isinstance(event, Finished):
                    told = telling.stats(event, time.monotonic() - begun_s, ttft_s)
                    await context.write(pb.GenerateStreamResponse(done=True, stats=told, **head))

    @ending_well
    async def Embed(self, message: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        """Embed a text."""
        vector: tuple[float, ...] = ()
        async with self._answering(message, context, read_text) as (first, events):
            async for event in events:
                if isinstance(event, Embedded):
                    (vector,) = event.vectors
        return pb.EmbedResponse(embedding=vector, backend_used=first.backend_id, routing=telling.routing(first))

    @ending_well
    async def ListBackends(self, message: Any, _: Any) -> Any:  # noqa: N802 - the name of the call
        """List the backends, or those of one type or hardware."""
        clock, system, ledger = self._services.clock, self._services.system.value, self._services.ledger
        ahead_s = clock.unix() - clock.monotonic()
        wanted = message.type_filter.lower()
        return pb.ListBackendsResponse(
            backends=[
                telling.backend(
                    view,
                    system,
                    ledger.totals(view.spec.id),
                    None if view.checked_at_s is None else view.checked_at_s + ahead_s,
                )
                for view in self._services.fleet.views.value
                if wanted in {"", view.spec.api.value.lower(), view.spec.hardware.value.lower()}
            ]
        )

    @ending_well
    async def HealthCheck(self, _: Any, __: Any) -> Any:  # noqa: N802 - the name of the call
        """Say whether the expected backends can serve, and how each is that is switched on."""
        fleet = self._services.fleet.views.value
        enabled, wanted = [view for view in fleet if view.health is not Health.DISABLED], expected(fleet)
        serving = [view for view in wanted if view.can_serve]
        is_whole = len(serving) == len(wanted) and not any(view.reason for view in serving)
        return pb.HealthCheckResponse(
            status=("healthy" if is_whole else "degraded") if serving else "unhealthy",
            backend_health={view.spec.id: telling.state(view) for view in enabled},
            timestamp_unix=int(self._services.clock.unix()),
        )

    @ending_well
    async def ExecutePipeline(self, _: Any, __: Any) -> NoReturn:  # noqa: N802 - the name of the call
        """Refuse a pipeline."""
        raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, "there are no pipelines here; call Generate for each stage")

    ExecutePipelineStream = ExecutePipeline

    @asynccontextmanager
    async def _answering(
        self, message: Any, context: Any, read: Callable[[Any, Hints], Request]
    ) -> AsyncIterator[Answer]:
        """The answer of a backend, which is free again when the call ends, however it does; raises ProxyError."""
        door, size_bytes = self._door.value, message.ByteSize()
        if size_bytes > door.max_message_bytes:
            limit = f"{door.max_message_bytes} bytes, the most that server.max_body_bytes allows"
            raise ProxyError(ErrorKind.TOO_LARGE, f"the message has {size_bytes} bytes; send at most {limit}")
        self._services.gateway.check_capacity()
        hints = await self._hints(message.annotations, context)
        request = await off_loop(size_bytes, partial(read, message, hints))
        await context.send_initial_metadata(((REQUEST_ID, hints.request_id),))
        async with aclosing(self._services.answers.answer(request)) as answer:
            first = await anext(answer)
            if not isinstance(first, Routed):
                raise TypeError(f"the gateway answered before it decided: {first!r}")
            yield Answer(first, cast("AsyncGenerator[Event, None]", answer))

    async def _hints(self, annotations: Any, context: Any) -> Hints:
        told = tuple(context.invocation_metadata() or ())
        given = next((text for name, text in told if name == REQUEST_ID), "")
        if len(given) > MOST_ID_CHARACTERS:
            message = f"{REQUEST_ID} must have at most {MOST_ID_CHARACTERS} characters"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param=REQUEST_ID)
        program = await self._callers.program(context) if self._door.value.names_programs else UNKNOWN
        left_s = context.time_remaining()
        deadline_ms = None if left_s is None else max(1, int((self._services.clock.unix() + left_s) * 1000))
        hints = read_hints(annotations, given or secrets.token_hex(8), program, deadline_ms)
        parents, states = ([text for name, text in told if name == key] for key in (TRACEPARENT, TRACESTATE))
        return replace(hints, trace=read_trace(parents, states))
