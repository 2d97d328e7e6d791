"""The way of a request through the gateway, up to the books."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.continuation import Failover, Obstacle
from ollama_proxyd.core.energy import Account, Source
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import (
    Accepted,
    Delta,
    Embedded,
    Event,
    Finished,
    FinishReason,
    Flow,
    Resumed,
    Timings,
    ToolCallDelta,
    Usage,
)
from ollama_proxyd.core.fleet import Health, Model
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Api, Chat, Hints, Message, Operation, Request
from ollama_proxyd.core.routed import Routed, RoutedError
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.core.tariff import CostSettings, Tariff
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.ledger import Outcome, RequestRouted
from ollama_proxyd.services.settings import GatewaySettings
from tests.fakes import RESUME, FakeBackend, FakeClock, reference_fleet, reload, services_of, settle, spec_of, words
from tests.reasons import because


def request(model: str = "tiny", stream: bool = True, **hints: Any) -> Request:
    return Request(
        operation=Operation.CHAT,
        api=Api.OLLAMA,
        endpoint="chat",
        model=model,
        stream=stream,
        body=b"{}",
        content=lambda: Chat((Message("user", ()),)),
        hints=Hints(**hints),
    )


def failed(kind: ErrorKind = ErrorKind.UPSTREAM_FAILED, status: int | None = None) -> ProxyError:
    return ProxyError(kind, "the backend broke", status=status)


async def answer(services: Services, asked: Request) -> list[Routed | Event]:
    async with aclosing(services.gateway.answer(asked)) as events:
        return [event async for event in events]


def routed(events: list[Routed | Event]) -> Routed:
    assert isinstance(events[0], Routed)
    return events[0]


def outcome(services: Services) -> Outcome:
    return services.ledger.recent()[-1]


async def test_the_first_event_names_the_backend_and_carries_the_decision() -> None:
    services = await services_of(*reference_fleet(), mode=Mode.BALANCED)
    first = routed(await answer(services, request()))
    assert first.backend_id == "igpu"
    assert first.decision is not None
    assert first.decision.ranked[0].backend_id == "igpu"


async def test_switching_the_mode_sends_the_next_request_elsewhere() -> None:
    services = await services_of(*reference_fleet(), mode=Mode.PERFORMANCE)
    assert routed(await answer(services, request())).backend_id == "nvidia"
    services.governor.select(Mode.ULTRA_EFFICIENCY)
    assert routed(await answer(services, request())).backend_id == "npu"


async def test_the_backend_is_asked_under_its_own_name_of_the_model() -> None:
    backend = FakeBackend("npu", models=("tiny:latest",))
    await answer(await services_of(backend), request("Tiny"))
    assert backend.requests[0][1] == "tiny:latest"


async def test_before_the_first_byte_the_next_candidate_is_tried() -> None:
    broken = FakeBackend("igpu", failed())
    services = await services_of(FakeBackend("npu"), broken)
    first = routed(await answer(services, request()))
    assert first.backend_id == "npu"
    assert first.decision is not None
    assert "tried again because igpu failed: it broke off its answers" in str(first.decision.reason)
    assert outcome(services).attempts == 2


async def test_a_backend_that_accepts_and_then_breaks_costs_a_retry_and_not_the_request() -> None:
    broken = FakeBackend("igpu", Accepted(), failed())
    services = await services_of(FakeBackend("npu"), broken)
    assert routed(await answer(services, request())).backend_id == "npu"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_does_not_reach_the_client_can_be_answered_by_another_backend(stream: bool) -> None:
    call = Delta(tool_calls=(ToolCallDelta(0, "a", "f", '{"a'),))
    broken = FakeBackend("igpu", Accepted(), call if stream else Delta(text="Hel"), failed())
    services = await services_of(FakeBackend("npu"), broken)
    events = await answer(services, replace(request(stream=stream), calls_come_whole=True))
    assert routed(events).backend_id == "npu"
    assert events[1:3] == [Delta(text="Hello"), Delta(text=" world")]


async def test_a_piece_of_a_tool_call_that_reached_the_client_is_a_beginning() -> None:
    call = Delta(tool_calls=(ToolCallDelta(0, "a", "f", '{"a'),))
    services = await services_of(FakeBackend("npu"), FakeBackend("igpu", Accepted(), call, failed()))
    with pytest.raises(RoutedError) as caught:
        await answer(services, request())
    assert caught.value.backend_id == "igpu"


async def test_no_more_backends_are_tried_than_the_configuration_allows() -> None:
    fleet = [FakeBackend(backend_id, failed()) for backend_id in ("npu", "igpu", "nvidia", "cpu")]
    services = await services_of(*fleet, settings=GatewaySettings(retries=1))
    with pytest.raises(ProxyError) as caught:
        await answer(services, request())
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    assert sum(len(backend.requests) for backend in fleet) == 2


@pytest.mark.parametrize("kind", [ErrorKind.UPSTREAM_REJECTED, ErrorKind.UNSUPPORTED, ErrorKind.INVALID_REQUEST])
async def test_a_request_that_is_itself_at_fault_is_not_sent_elsewhere(kind: ErrorKind) -> None:
    other = FakeBackend("npu")
    services = await services_of(FakeBackend("igpu", failed(kind)), other)
    with pytest.raises(ProxyError) as caught:
        await answer(services, request())
    assert caught.value.kind is kind
    assert not other.requests


def begun(**changes: Any) -> Request:
    """A request whose answer can go on elsewhere."""
    return replace(request(), resume=RESUME, **changes)


async def test_an_answer_that_breaks_goes_on_at_the_next_backend_from_what_its_client_has() -> None:
    other = FakeBackend("npu", Accepted(), Delta(text="lo"), Finished(usage=Usage(5, 1)))
    services = await services_of(FakeBackend("igpu", Accepted(), Delta(text="Hel"), failed()), other)
    events = await answer(services, begun())
    assert events[1:4] == [Delta(text="Hel"), Resumed(), Delta(text="lo")]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (4, 2)
    assert other.requests[0][0].spoken == Spoken("Hel", tokens=1)
    told = outcome(services)
    assert (told.backend_id, told.retried, told.resumed, told.error) == ("npu", ("igpu",), ("reset",), None)
    assert told.usage.completion_tokens == 2
    assert "goes on in the middle of an answer because igpu failed" in str(told.decision and told.decision.reason)


async def poured(services: Services, asked: Request) -> list[Routed | Event | bytes]:
    """The events for a client that takes what flows, but never two at once."""
    heard: list[Routed | Event | bytes] = []
    async for event in services.gateway.answer(asked, flows=True):
        if isinstance(event, Flow):
            await event.pour(lambda told: bool(heard.append(told)))
        else:
            heard.append(event)
    return heard


async def test_what_flows_is_heard_like_other_events_and_goes_on_elsewhere_where_it_breaks() -> None:
    first = FakeBackend("igpu", Accepted(), Delta(text="H"), Delta(text="e"), Delta(text="l"), failed())
    other = FakeBackend("npu", Accepted(), Delta(text="l"), Delta(text="o"), Finished(usage=Usage(5, 1)))
    first.flows = other.flows = True
    services = await services_of(first, other)
    heard = await poured(services, begun())
    assert heard[1:-1] == [*[Delta(text=each) for each in "Hel"], Resumed(), *[Delta(text=each) for each in "lo"]]
    assert other.requests[0][0].spoken == Spoken("Hel", tokens=3)
    assert isinstance(heard[-1], Finished)
    assert outcome(services).error is None


async def test_frames_that_flow_are_read_for_the_rest_where_they_break() -> None:
    def read(block: bytes) -> list[Event]:
        return [Delta(text=each) for each in block.decode()]

    first = FakeBackend("igpu", Accepted(read=read), *[Delta(frame=each) for each in (b"H", b"e", b"l")], failed())
    other = FakeBackend("npu", Accepted(), Delta(text="lo"), Finished(usage=Usage(5, 1)))
    first.flows = True
    heard = await poured(await services_of(first, other), begun())
    assert heard[1:-1] == [Delta(frame=b"H"), b"e", b"l", Resumed(), Delta(text="lo")]
    assert other.requests[0][0].spoken == Spoken("Hel", tokens=3, passed=True)


async def test_nothing_flows_for_who_does_not_ask_for_it() -> None:
    backend = FakeBackend("igpu", Accepted(), Delta(text="H"), Delta(text="i"), Finished())
    backend.flows = True
    events = await answer(await services_of(backend), request())
    assert events[1:-1] == [Delta(text="H"), Delta(text="i")]


async def test_both_parts_of_an_answer_are_booked_at_their_backends() -> None:
    broken = FakeBackend("igpu", Accepted(), Delta(text="H"), Delta(text="el", tokens=3), failed())
    services = await services_of(broken, FakeBackend("npu", Accepted(), Delta(text="lo"), Finished(usage=Usage(5, 1))))
    await answer(services, begun())
    assert services.ledger.totals("igpu").failures == 1
    assert services.ledger.totals("igpu").completion_tokens == 4
    assert outcome(services).usage.completion_tokens == 5
    assert services.ledger.totals("npu").requests == 1
    assert services.ledger.totals("npu").completion_tokens == 1


async def test_an_answer_goes_on_until_no_backend_is_left_and_then_says_what_broke_it_last() -> None:
    first = FakeBackend("igpu", Accepted(), Delta(text="a"), failed())
    second = FakeBackend("npu", Accepted(), Delta(text="b"), ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "fell silent"))
    third = FakeBackend("cpu", ProxyError(ErrorKind.UPSTREAM_REJECTED, "no prefill here", status=400))
    services = await services_of(first, second, third)
    heard: list[object] = []

    async def read() -> None:
        async for event in services.gateway.answer(begun()):
            heard.append(event)  # noqa: PERF401 - what came before the error must stay

    with pytest.raises(RoutedError, match="fell silent"):
        await read()
    assert heard[1:] == [Delta(text="a"), Resumed(), Delta(text="b")]
    assert third.requests[0][0].spoken == Spoken("ab", tokens=2)
    assert outcome(services).obstacle is Obstacle.NO_BACKEND


async def test_an_answer_that_broke_at_its_own_limit_is_complete() -> None:
    other = FakeBackend("npu")
    services = await services_of(FakeBackend("igpu", Accepted(), Delta(text="Hel"), failed()), other)
    events = await answer(services, begun(max_tokens=1))
    assert events[1:] == [Delta(text="Hel"), Resumed(), events[-1]]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.LENGTH
    assert not other.requests


@pytest.mark.parametrize(
    ("settings", "changes", "why"),
    [
        (GatewaySettings(failover=Failover.NEVER), {}, Obstacle.SWITCHED_OFF),
        (GatewaySettings(), {"content": lambda: Chat((), logprobs=True)}, Obstacle.LOGPROBS),
        (GatewaySettings(), {"resume": None}, Obstacle.FIELDS),
    ],
)
async def test_an_answer_that_cannot_go_on_exactly_ends_with_what_broke_it(
    settings: GatewaySettings, changes: dict[str, Any], why: Obstacle
) -> None:
    other = FakeBackend("npu")
    broken = FakeBackend("igpu", Accepted(), Delta(text="Hel"), failed())
    services = await services_of(broken, other, settings=settings)
    with pytest.raises(RoutedError, match="the backend broke"):
        await answer(services, replace(begun(), **changes))
    assert not other.requests
    assert outcome(services).obstacle is why


async def test_other_weights_go_on_only_where_any_candidate_may() -> None:
    for failover, resumed in ((Failover.SAME_MODEL, 0), (Failover.ANY_CANDIDATE, 1)):
        ours, theirs = Model("tiny:latest", digest="a"), Model("tiny:latest", digest="b")
        broken = FakeBackend("igpu", Accepted(), Delta(text="Hel"), failed(), models=(ours,))
        other = FakeBackend("npu", models=(theirs,))
        services = await services_of(broken, other, settings=GatewaySettings(failover=failover))
        with contextlib.suppress(RoutedError):
            await answer(services, begun())
        assert len(outcome(services).resumed) == len(other.requests) == resumed


async def test_a_backend_that_cannot_go_on_exactly_is_not_asked() -> None:
    other = FakeBackend("npu")
    other.resumes = False
    services = await services_of(FakeBackend("igpu", Accepted(), Delta(text="Hel"), failed()), other)
    with pytest.raises(RoutedError):
        await answer(services, begun())
    assert not other.requests


async def test_an_error_tells_how_the_request_was_routed_and_who_failed() -> None:
    services = await services_of(FakeBackend("igpu", failed()))
    with pytest.raises(RoutedError) as caught:
        await answer(services, request())
    assert caught.value.backend_id == "igpu"
    assert caught.value.decision is not None


async def test_a_target_that_fails_is_never_replaced_by_another() -> None:
    other = FakeBackend("npu")
    services = await services_of(FakeBackend("igpu", failed()), other)
    with pytest.raises(ProxyError):
        await answer(services, request(target="igpu"))
    assert not other.requests


@pytest.mark.parametrize(
    ("error", "health", "is_checked_soon"),
    [
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "refused", code=UNREACHABLE), Health.DOWN, True),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off"), Health.UP, True),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "said 500", status=500), Health.UP, False),
        (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "is slow"), Health.UP, False),
    ],
    ids=str,
)
async def test_only_a_backend_at_whose_address_nothing_listens_is_down_at_once(
    error: ProxyError, health: Health, is_checked_soon: bool
) -> None:
    services = await services_of(FakeBackend("igpu", error), FakeBackend("npu"))
    await answer(services, request())
    assert services.fleet.view("igpu").health is health
    assert services.fleet.due.is_set() is is_checked_soon


async def test_a_backend_that_came_up_while_nobody_looked_serves_the_first_request() -> None:
    clock, backend = FakeClock(), FakeBackend("npu")
    backend.down = failed()
    services = await services_of(backend, clock=clock)
    backend.down = None
    with pytest.raises(ProxyError):
        await answer(services, request())
    clock.advance(services.health.interval_s + 1)
    assert routed(await answer(services, request())).backend_id == "npu"


async def test_a_picture_from_idle_times_that_serves_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    clock.advance(3600)

    async def check_all() -> None:
        raise AssertionError

    monkeypatch.setattr(services.health, "check_all", check_all)
    assert routed(await answer(services, request())).backend_id == "npu"


async def test_a_client_that_leaves_ends_the_work_upstream_at_once() -> None:
    never = asyncio.Event()
    backend = FakeBackend("npu", Accepted(), Delta(text="Hel"), never)
    services = await services_of(backend)
    events = services.gateway.answer(request())
    await anext(events)
    await anext(events)
    assert services.fleet.view("npu").in_flight == 1
    await events.aclose()
    assert backend.open == 0
    assert services.fleet.view("npu").in_flight == 0
    assert outcome(services).cancelled


async def test_a_client_that_leaves_before_the_first_byte_ends_the_work_upstream_too() -> None:
    backend = FakeBackend("npu", Accepted(), asyncio.Event())
    services = await services_of(backend)

    async def ask() -> None:
        await answer(services, request())

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(5):
        await backend.opened.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert backend.open == 0
    assert services.fleet.view("npu").in_flight == 0
    assert outcome(services).cancelled
    assert services.gateway.in_flight == 0


async def test_one_request_too_many_is_told_to_come_later() -> None:
    go_on = asyncio.Event()
    services = await services_of(
        FakeBackend("npu", Accepted(), go_on, Finished()), settings=GatewaySettings(max_in_flight=1)
    )
    first, second = [asyncio.create_task(answer(services, request())) for _ in range(2)]
    await settle()
    go_on.set()
    with pytest.raises(ProxyError) as caught:
        await second
    assert caught.value.kind is ErrorKind.OVERLOADED
    assert caught.value.retry_after_s
    assert routed(await first).backend_id == "npu"


async def test_a_deadline_that_has_passed_is_refused_before_any_backend_is_asked() -> None:
    clock, backend = FakeClock(), FakeBackend("npu")
    services = await services_of(backend, clock=clock)
    with pytest.raises(ProxyError) as caught:
        await answer(services, request(deadline_ms=int(clock.unix() * 1000) - 1))
    assert caught.value.kind is ErrorKind.LIMIT_UNMET
    assert not backend.requests


@pytest.mark.parametrize(
    ("deadline_ms", "meant"), [(5000, "5000 ms from now"), (1_795_902_568, "1795902568000"), (0, "0 ms from now")]
)
async def test_a_span_or_seconds_given_as_a_deadline_are_taken_for_a_slip(deadline_ms: int, meant: str) -> None:
    with pytest.raises(ProxyError) as caught:
        await answer(await services_of(FakeBackend("npu")), request(deadline_ms=deadline_ms))
    assert caught.value.message == f"deadline_ms is a moment since 1970 in ms; did you mean {meant}?"


async def test_a_backend_that_does_not_begin_before_the_deadline_is_given_up() -> None:
    clock = FakeClock()
    backend = FakeBackend("npu", Accepted(), asyncio.Event())
    services = await services_of(backend, clock=clock)
    with pytest.raises(ProxyError) as caught:
        await answer(services, request(deadline_ms=int(clock.unix() * 1000) + 850))
    assert caught.value.code == "deadline_exceeded"
    assert backend.open == 0


async def test_explaining_has_no_side_effect() -> None:
    services = await services_of(*reference_fleet())
    before = services.fleet.views.value
    for mode in Mode:
        assert services.gateway.explain(Query("tiny"), mode).ranked
    assert services.fleet.views.value is before
    assert services.ledger.recent() == ()


async def test_vectors_that_no_engine_timed_took_what_our_own_clock_says() -> None:
    clock = FakeClock()

    class Slow(FakeBackend):
        async def answer(self, asked: Request, model: str) -> AsyncGenerator[Event, None]:
            clock.advance(0.25)
            async for event in super().answer(asked, model):
                yield event

    asked = replace(request(stream=False), operation=Operation.EMBEDDING)
    services = await services_of(Slow("npu", Accepted(), Embedded(((1.0,),)), Finished()), clock=clock)
    told = [each async for each in services.gateway.answer(asked)]
    assert isinstance(told[-1], Finished)
    assert told[-1].timings == Timings(total_s=0.25)


async def test_the_books_hold_time_tokens_and_estimated_joules() -> None:
    clock = FakeClock()

    def wait() -> None:
        clock.advance(2.0)

    usage = Usage(prompt_tokens=5, completion_tokens=20)
    backend = FakeBackend("npu", Accepted(), wait, Delta(text="a"), wait, Finished(usage=usage))
    services = await services_of(backend, clock=clock)
    await answer(services, request())
    entry = outcome(services)
    assert entry.succeeded
    assert (entry.ttft_s, entry.total_s) == (2.0, 4.0)
    assert entry.usage == usage
    assert entry.energy_j == 12.0
    assert services.ledger.totals("npu").completion_tokens == 20


def slow_answer(clock: FakeClock, *events: Event) -> tuple[object, ...]:
    return (Accepted(), lambda: clock.advance(1.0), Delta(text="a"), lambda: clock.advance(2.0), *events)


async def test_a_finished_request_teaches_the_speed_of_its_model() -> None:
    clock = FakeClock()
    script = slow_answer(clock, Finished(usage=Usage(completion_tokens=21)))
    services = await services_of(FakeBackend("npu", *script), clock=clock)
    await answer(services, request())
    speed = services.fleet.view("npu").speeds["tiny:latest"]
    assert speed.ttft_s == 1.0
    assert speed.decode_tps == 10.0
    assert speed.samples == 1


async def test_the_backends_own_clock_teaches_better_than_ours() -> None:
    clock = FakeClock()
    finished = Finished(usage=Usage(completion_tokens=20), timings=Timings(decode_s=1.0, load_s=0.75))
    services = await services_of(FakeBackend("npu", *slow_answer(clock, finished)), clock=clock)
    await answer(services, request())
    speed = services.fleet.view("npu").speeds["tiny:latest"]
    assert speed.decode_tps == 20.0
    assert speed.ttft_s == 0.25


async def test_a_failure_teaches_nothing() -> None:
    clock = FakeClock()
    script = slow_answer(clock)
    services = await services_of(FakeBackend("npu", *script, failed()), clock=clock)
    with pytest.raises(ProxyError):
        await answer(services, request())
    assert "tiny:latest" not in services.fleet.view("npu").speeds


async def test_a_request_beside_others_teaches_what_it_would_have_been_alone() -> None:
    clock = FakeClock()
    script = slow_answer(clock, Finished(usage=Usage(completion_tokens=21)))
    services = await services_of(FakeBackend(spec_of("npu", slots=2), *script), clock=clock)
    with services.fleet.lease("npu"):
        await answer(services, request())
    speed = services.fleet.view("npu").speeds["tiny:latest"]
    assert (speed.decode_tps, speed.ttft_s) == (12.5, None)


async def test_an_answer_cut_by_the_clients_limit_teaches_that_they_are_at_least_so_long() -> None:
    clock = FakeClock()
    usage = Usage(completion_tokens=21)
    script = slow_answer(clock, Finished(FinishReason.LENGTH, usage))
    services = await services_of(FakeBackend("npu", *script), clock=clock)
    await answer(services, request())
    speed = services.fleet.view("npu").speeds["tiny:latest"]
    assert speed.decode_tps == 10.0
    assert speed.output_tokens == 21


class Silent(FakeBackend):
    """A backend that ends its answer before it says anything."""

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        self.requests.append((request, model))
        return
        yield Finished()


async def test_an_answer_that_ends_before_it_began_is_a_failure_of_the_backend() -> None:
    services = await services_of(Silent("igpu"), FakeBackend("npu", *words("Hi")))
    assert routed(await answer(services, request())).backend_id == "npu"


async def test_explaining_a_deadline_decides_as_the_request_would_be_decided() -> None:
    clock = FakeClock()
    services = await services_of(*reference_fleet(), clock=clock)
    soon = Hints(deadline_ms=int(clock.unix() * 1000) + 200)
    ranked = [each.backend_id for each in services.gateway.explain(Query("tiny", hints=soon)).ranked]
    assert ranked == ["nvidia"]
    assert not services.gateway.explain(Query("tiny", hints=Hints(deadline_ms=1))).ranked


async def test_a_failure_with_no_other_candidate_does_not_claim_that_another_was_tried() -> None:
    services = await services_of(FakeBackend("igpu", failed()))
    with pytest.raises(ProxyError) as caught:
        await answer(services, request())
    assert caught.value.decision is not None
    assert "tried again" not in str(caught.value.decision.reason)
    assert [each.backend_id for each in caught.value.decision.ranked] == ["igpu"]


async def test_what_a_backend_says_of_its_failure_is_not_in_the_reason_because_it_may_quote_the_prompt() -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "template failed on: MY PROMPT", status=500)
    services = await services_of(FakeBackend("igpu", error), FakeBackend("npu"))
    first = routed(await answer(services, request()))
    assert first.decision is not None
    assert "MY PROMPT" not in str(first.decision.reason)
    assert "status 500" in str(first.decision.reason)


async def test_a_gateway_that_stops_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    go_on = asyncio.Event()
    gate = Gate()
    services = await services_of(FakeBackend("npu", Accepted(), go_on, Finished()), gate=gate)
    asking = asyncio.create_task(answer(services, request()))
    await asyncio.sleep(0)
    gate.stop()
    with pytest.raises(ProxyError) as caught:
        await answer(services, request())
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert caught.value.retry_after_s
    go_on.set()
    assert routed(await asking).backend_id == "npu"


async def test_a_model_that_is_being_shown_counts_as_under_way() -> None:
    services = await services_of(FakeBackend("npu"))
    assert await services.gateway.show("npu", "tiny:latest", {}) == FakeBackend("npu").details
    assert services.gateway.in_flight == 0


async def test_where_a_request_went_is_told_once_after_its_first_words_and_before_its_end() -> None:
    services = await services_of(*reference_fleet(), mode=Mode.BALANCED)
    told: list[RequestRouted] = []
    services.ledger.routed.listen(told.append)
    async with aclosing(services.gateway.answer(request())) as events:
        await anext(events)
        await anext(events)
        assert told == [], "the first words do not wait for it"
        await anext(events)
        (routed,) = told
        assert routed.backend_id == "igpu"
        assert routed.instead is not None
        assert routed.instead.instead.backend_id == "nvidia"
        assert services.ledger.recent() == ()
        assert [event async for event in events]
    assert told == [routed]
    assert services.ledger.last_routed is routed
    assert outcome(services).instead is routed.instead
    assert services.ledger.today.compared == 1


async def test_the_comparison_is_with_the_moment_of_the_decision() -> None:
    backends = {each.spec.id: each for each in reference_fleet()}
    services = await services_of(*backends.values(), mode=Mode.BALANCED)
    accepted_, first, *rest = backends["igpu"].script
    crowd = partial(services.fleet.note_down, "nvidia", because("gone in the meantime"))
    backends["igpu"].script = (crowd, accepted_, first, *rest)
    await answer(services, request())
    instead = outcome(services).instead
    assert instead is not None
    assert instead.instead.backend_id == "nvidia"


async def test_a_client_that_leaves_at_its_first_words_is_told_of_and_not_compared() -> None:
    services = await services_of(*reference_fleet())
    told: list[RequestRouted] = []
    services.ledger.routed.listen(told.append)
    async with aclosing(services.gateway.answer(request())) as events:
        await anext(events)
    assert [(each.backend_id, each.instead) for each in told] == [("igpu", None)]
    assert (outcome(services).cancelled, services.ledger.today.compared) == (True, 0)


async def test_a_retry_is_told_of_where_it_was_answered() -> None:
    services = await services_of(FakeBackend("npu"), FakeBackend("igpu", failed()))
    told: list[RequestRouted] = []
    services.ledger.routed.listen(told.append)
    await answer(services, request())
    assert [each.backend_id for each in told] == ["npu"]


async def test_a_request_that_nothing_could_serve_is_told_of_with_the_decision() -> None:
    services = await services_of(FakeBackend("npu"))
    told: list[RequestRouted] = []
    services.ledger.routed.listen(told.append)
    with pytest.raises(ProxyError):
        await answer(services, request("absent"))
    (routed,) = told
    assert (routed.backend_id, routed.instead) == (None, None)
    assert routed.decision is not None


async def test_time_joules_and_blame_of_a_failed_attempt_are_its_backends() -> None:
    clock = FakeClock()
    broken = FakeBackend("igpu", lambda: clock.advance(2.0), failed(status=500))
    good = FakeBackend("npu", Accepted(), lambda: clock.advance(3.0), Finished(usage=Usage(3, 5)))
    services = await services_of(broken, good, clock=clock)
    ended: list[AttemptEnded] = []
    services.fleet.attempts.listen(ended.append)
    await answer(services, request())
    first, second = ended
    assert (first.backend_id, first.error, first.status, first.busy_s) == ("igpu", ErrorKind.UPSTREAM_FAILED, 500, 2.0)
    assert (second.backend_id, second.error, second.busy_s, second.succeeded) == ("npu", None, 3.0, True)
    blamed, credited = services.ledger.totals("igpu"), services.ledger.totals("npu")
    assert (blamed.requests, blamed.failures, blamed.energy_j, blamed.busy_s) == (1, 1, 2.0 * 12.0, 2.0)
    assert (credited.requests, credited.failures, credited.energy_j, credited.busy_s) == (1, 0, 3.0 * 3.0, 3.0)
    assert services.energy.today.joules == {
        ("igpu", Account.ACTIVE, Source.ESTIMATED): 24.0,
        ("npu", Account.ACTIVE, Source.ESTIMATED): 9.0,
    }
    assert (outcome(services).energy_j, outcome(services).retried) == (24.0 + 9.0, ("igpu",))


async def test_what_a_service_takes_is_counted_from_its_own_tokens_and_nothing_before_first_words() -> None:
    tariff = Tariff(10.0, 100.0, CostSettings("EUR"))
    broken = FakeBackend(spec_of("igpu", tariff=tariff), failed(status=500))
    good = FakeBackend(spec_of("npu", tariff=tariff), Accepted(), Finished(usage=Usage(3000, 500)))
    services = await services_of(broken, good)
    await answer(services, request())
    assert services.ledger.totals("npu").requests == 1
    assert services.ledger.today.spent == {"EUR": pytest.approx(0.03 + 0.05)}
    assert services.ledger.totals("igpu").spent == {}


async def test_an_error_carries_its_way_without_having_been_written_to() -> None:
    error = failed()
    services = await services_of(FakeBackend("igpu", error))
    with pytest.raises(RoutedError) as caught:
        await answer(services, request())
    assert caught.value is not error
    assert not hasattr(error, "decision")
    assert caught.value.message == error.message


async def test_a_fault_of_ours_in_an_attempt_is_booked_as_one() -> None:
    services = await services_of(FakeBackend("npu", Accepted(), Delta("x"), ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await answer(services, request())
    assert services.ledger.totals("npu").failures == 1
    assert services.fleet.view("npu").in_flight == 0
    assert outcome(services).error is ErrorKind.INTERNAL


async def test_a_backend_that_refuses_before_its_answer_can_begin_gives_its_slot_back() -> None:
    class Refusing(FakeBackend):
        def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
            raise failed(ErrorKind.INVALID_REQUEST)

    services = await services_of(Refusing("npu"))
    with pytest.raises(ProxyError):
        await answer(services, request())
    assert services.fleet.view("npu").in_flight == 0
    assert services.ledger.totals("npu").failures == 1


async def test_an_attempt_is_booked_also_where_its_end_is_disturbed() -> None:
    class Sticky(FakeBackend):
        async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
            try:
                yield Accepted()
                yield Delta("x")
                await asyncio.Event().wait()
            finally:
                raise asyncio.CancelledError

    services = await services_of(Sticky("npu"))
    events = services.gateway.answer(request())
    await anext(events)
    with pytest.raises(asyncio.CancelledError):
        await events.aclose()
    assert services.fleet.view("npu").in_flight == 0
    assert services.ledger.totals("npu").cancelled == 1


async def test_a_replaced_backend_that_cannot_be_reached_says_nothing_of_the_new_one() -> None:
    go_on, unreachable = asyncio.Event(), ProxyError(ErrorKind.UPSTREAM_FAILED, "gone", code=UNREACHABLE)
    services = await services_of(FakeBackend("npu", Accepted(), Delta("x"), go_on, unreachable))
    asking = asyncio.create_task(answer(services, request()))
    await settle()
    await reload(services, FakeBackend(spec_of("npu", endpoint="http://127.0.0.1:2")))
    go_on.set()
    with pytest.raises(ProxyError):
        await asking
    assert services.fleet.view("npu").health is Health.UP
