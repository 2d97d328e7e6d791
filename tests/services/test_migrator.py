"""A long answer moves to where its rest is better off, and only then."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ollama_proxyd.core.continuation import Failover
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Flow, Resumed, Usage
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.migration import LEAST_STAY_S, tokens_left
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Chat, Hints, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.settings import GatewaySettings
from tests.fakes import ASKED, FakeBackend, pass_by, reload, services_of, spec_of

ONE_SLOT = spec_of("nvidia", slots=1)


class Answer:
    """An answer that is read event by event."""

    def __init__(self, services: Services, request: Request = ASKED) -> None:
        self.events: AsyncGenerator[Routed | Event, None] = services.gateway.answer(request)
        self.heard: list[Routed | Event] = []

    async def hear(self, events: int) -> None:
        for _ in range(events):
            self.heard.append(await anext(self.events))

    async def hear_all(self) -> None:
        async with aclosing(self.events) as events:
            self.heard += [event async for event in events]


def long_answer(go_on: asyncio.Event) -> tuple[Any, ...]:
    return Accepted(), Delta(text="Hel"), go_on, Delta(text="lo,"), Delta(text=" there"), Finished(usage=Usage(3, 3))


def rest() -> tuple[Any, ...]:
    return Accepted(), Delta(text=" world"), Finished(usage=Usage(5, 1))


async def moving(services: Services, go_on: asyncio.Event, stays_s: float = LEAST_STAY_S) -> Answer:
    """An answer whose first piece came a while ago."""
    answer = Answer(services)
    await answer.hear(2)
    await pass_by(stays_s)
    go_on.set()
    return answer


async def test_an_answer_moves_when_its_rest_needs_fewer_joules_elsewhere() -> None:
    go_on = asyncio.Event()
    first, other = FakeBackend("nvidia", *long_answer(go_on)), FakeBackend("npu", *rest())
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    answer = await moving(services, go_on)
    services.governor.select(Mode.EFFICIENCY)
    await services.gateway.migrator.look()
    await answer.hear_all()
    assert answer.heard[1:5] == [Delta(text="Hel"), Delta(text="lo,"), Resumed(), Delta(text=" world")]
    assert other.requests[0][0].spoken == Spoken("Hello,", tokens=2)
    told = services.ledger.recent()[-1]
    assert (told.backend_id, told.resumed, told.error) == ("npu", ("moved",), None)
    assert (
        "; nothing else can serve the rest of this, not counting nvidia, which had it before; it moved here from nvidia"
        " in the middle of an answer: the rest of the answer needs"
    ) in str(told.decision and told.decision.reason)
    assert services.ledger.totals("nvidia").failures == 0
    assert services.fleet.view("nvidia").in_flight == 0


async def test_an_answer_that_flows_moves_at_its_next_piece() -> None:
    go_on = asyncio.Event()
    first, other = FakeBackend("nvidia", *long_answer(go_on)), FakeBackend("npu", *rest())
    first.flows = other.flows = True
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    heard: list[Routed | Event] = []

    async def read() -> None:
        async for event in services.gateway.answer(ASKED, flows=True):
            if isinstance(event, Flow):
                await event.pour(take)
            else:
                take(event)

    def take(event: Routed | Event | bytes) -> bool:
        assert not isinstance(event, bytes)
        heard.append(event)
        return True

    reading = asyncio.create_task(read())
    await pass_by(LEAST_STAY_S)
    services.governor.select(Mode.EFFICIENCY)
    await services.gateway.migrator.look()
    go_on.set()
    await reading
    assert heard[1:5] == [Delta(text="Hel"), Delta(text="lo,"), Resumed(), Delta(text=" world")]
    assert services.ledger.recent()[-1].resumed == ("moved",)


async def test_the_frames_of_an_answer_are_not_read_where_no_other_backend_serves() -> None:
    blocks: list[bytes] = []

    def read(block: bytes) -> list[Event]:
        blocks.append(block)
        return []

    for second_is_up in (False, True):
        go_on = asyncio.Event()
        frames = Accepted(read=read), Delta(frame=b"one"), go_on, Delta(frame=b"two"), Finished()
        services = await services_of(FakeBackend("nvidia", *frames), FakeBackend("npu"), mode=Mode.PERFORMANCE)
        services.fleet.set_enabled("npu", second_is_up)
        answer = await moving(services, go_on)
        await services.gateway.migrator.look()
        assert blocks == ([b"one"] if second_is_up else [])
        await answer.hear_all()


async def test_between_two_answers_that_are_looked_at_all_others_go_on() -> None:
    steps: list[str] = []

    def read(_: bytes) -> list[Event]:
        steps.append("read")
        return []

    async def pass_on() -> None:
        while True:
            steps.append("passed")
            await asyncio.sleep(0)

    go_on = asyncio.Event()
    frames = Accepted(read=read), Delta(frame=b"one"), go_on, Delta(frame=b"two"), Finished()
    services = await services_of(FakeBackend("nvidia", *frames), FakeBackend("npu"), mode=Mode.PERFORMANCE)
    answers = [Answer(services) for _ in range(3)]
    for answer in answers:
        await answer.hear(2)
    await pass_by(LEAST_STAY_S)
    passing = asyncio.create_task(pass_on())
    await services.gateway.migrator.look()
    passing.cancel()
    assert steps.count("read") == len(answers)
    assert ("read", "read") not in pairwise(steps)
    go_on.set()
    for answer in answers:
        await answer.hear_all()


async def test_a_game_and_a_backend_that_is_switched_off_are_left_at_once() -> None:
    for cause in ("game", "off"):
        go_on = asyncio.Event()
        first, other = FakeBackend("nvidia", *long_answer(go_on)), FakeBackend("igpu", *rest())
        services = await services_of(first, other, mode=Mode.PERFORMANCE)
        answer = await moving(services, go_on)
        if cause == "game":
            services.system.set(SystemState(games=Reading(1, 0.0)))
        else:
            services.fleet.set_enabled("nvidia", False)
        await services.gateway.migrator.look()
        await answer.hear_all()
        assert services.ledger.recent()[-1].resumed == ("moved",), cause


@pytest.mark.parametrize(
    ("settings", "request_", "stays_s", "mode"),
    [
        (GatewaySettings(), ASKED, LEAST_STAY_S, Mode.PERFORMANCE),  # nothing has changed
        (GatewaySettings(), ASKED, LEAST_STAY_S / 2, Mode.EFFICIENCY),
        (GatewaySettings(failover=Failover.NEVER), ASKED, LEAST_STAY_S, Mode.EFFICIENCY),
        (GatewaySettings(), replace(ASKED, max_tokens=60), LEAST_STAY_S, Mode.EFFICIENCY),
        (GatewaySettings(), replace(ASKED, hints=Hints(target="nvidia")), LEAST_STAY_S, Mode.EFFICIENCY),
        (GatewaySettings(), replace(ASKED, content=lambda: Chat((), logprobs=True)), LEAST_STAY_S, Mode.EFFICIENCY),
    ],
)
async def test_an_answer_stays_where_moving_does_not_pay_or_is_not_exact(
    settings: GatewaySettings, request_: Request, stays_s: float, mode: Mode
) -> None:
    go_on = asyncio.Event()
    first, other = FakeBackend("nvidia", *long_answer(go_on)), FakeBackend("npu", *rest())
    services = await services_of(first, other, mode=Mode.PERFORMANCE, settings=settings)
    answer = Answer(services, request_)
    await answer.hear(2)
    await pass_by(stays_s)
    go_on.set()
    services.governor.select(mode)
    await services.gateway.migrator.look()
    await answer.hear_all()
    assert not other.requests
    assert services.ledger.recent()[-1].resumed == ()


async def test_an_answer_goes_on_where_it_was_when_the_better_place_fails() -> None:
    go_on = asyncio.Event()
    first = FakeBackend("nvidia", *long_answer(go_on))
    other = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "no"))
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    answer = await moving(services, go_on)
    services.governor.select(Mode.EFFICIENCY)
    await services.gateway.migrator.look()
    first.script = rest()
    await answer.hear_all()
    assert [each[0].spoken for each in first.requests] == [None, Spoken("Hello,", tokens=2)]
    assert services.ledger.recent()[-1].error is None


async def test_an_answer_goes_on_where_it_was_when_the_better_place_is_gone() -> None:
    go_on = asyncio.Event()
    first, other = FakeBackend("nvidia", *long_answer(go_on)), FakeBackend("npu", *rest())
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    answer = await moving(services, go_on)
    services.governor.select(Mode.EFFICIENCY)
    await services.gateway.migrator.look()
    await reload(services, first)
    first.script = rest()
    await answer.hear_all()
    told = services.ledger.recent()[-1]
    assert (told.backend_id, told.error) == ("nvidia", None)
    reason = str(told.decision and told.decision.reason)
    assert "it was to move elsewhere in the middle of an answer" in reason
    assert "moved here" not in reason


async def waiting_after(first: FakeBackend, services: Services) -> tuple[Answer, asyncio.Task[None]]:
    """An answer that broke off at its backend and waits for a slot of the other one, longer than it has to stay."""
    answer = Answer(services)
    hearing = asyncio.create_task(answer.hear_all())
    await first.closed.wait()
    services.fleet.set_enabled(first.spec.id, False)
    await pass_by(LEAST_STAY_S)
    await services.gateway.migrator.look()
    return answer, hearing


async def test_an_answer_that_waits_to_go_on_elsewhere_has_no_place_to_move_from() -> None:
    broken = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    pieces = Delta(text="lo"), Delta(text=" world"), Delta(text=".")
    first = FakeBackend("npu", Accepted(), Delta(text="Hel"), broken)
    other = FakeBackend(ONE_SLOT, Accepted(), *pieces, Finished(usage=Usage(5, 3)))
    services = await services_of(first, other, mode=Mode.EFFICIENCY)
    with services.fleet.lease("nvidia"):
        answer, hearing = await waiting_after(first, services)
    await hearing
    assert answer.heard[1:6] == [Delta(text="Hel"), Resumed(), *pieces]
    assert len(other.requests) == 1
    told = services.ledger.recent()[-1]
    assert (told.backend_id, told.error) == ("nvidia", None)
    assert len(told.resumed) == 1


async def test_an_answer_goes_on_where_it_was_although_others_have_taken_its_slot() -> None:
    """The better place is gone before the answer is there, and what waited has the slot that it left."""
    go_on, work = asyncio.Event(), asyncio.Event()
    first, other = FakeBackend(ONE_SLOT, *long_answer(go_on)), FakeBackend(spec_of("npu", slots=1), *rest())
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    answer = await moving(services, go_on)
    services.governor.select(Mode.EFFICIENCY)
    await services.gateway.migrator.look()
    first.script = Accepted(), Delta(text="other"), work, Finished()
    with services.fleet.lease("npu"):
        second = asyncio.create_task(Answer(services, replace(ASKED, hints=Hints(target="nvidia"))).hear_all())
        await pass_by(0.1)
        hearing = asyncio.create_task(answer.hear_all())
        await pass_by(1.0)
        services.fleet.set_enabled("npu", False)
        await pass_by(1.0)
    first.script = rest()
    work.set()
    await asyncio.gather(hearing, second)
    assert answer.heard[-2:-1] == [Delta(text=" world")]
    told = services.ledger.recent()[-1]
    assert (told.backend_id, told.error) == ("nvidia", None)


def test_a_rest_is_as_long_as_usual_answers_leave_it_and_then_as_long_again() -> None:
    assert [tokens_left(spoken, None) for spoken in (0, 50, 150, 500)] == [200, 150, 150, 500]
    assert tokens_left(500, 20) == 20
