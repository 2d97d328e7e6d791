"""What happens to requests when the machine goes to sleep."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.continuation import Failover
from ollama_proxyd.core.errors import ASLEEP, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Resumed, Usage
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.resume_check import GpuLossDetector
from ollama_proxyd.services.settings import GatewaySettings
from ollama_proxyd.services.sleep import Awake, Sleep
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import ASKED, FakeBackend, FakeClock, FakeFleet, pass_by, services_of, settle
from tests.reasons import unavailable


class Answer:
    """What a client heard of its answer."""

    def __init__(self, services: Services, request: Request) -> None:
        self._events = services.gateway.answer(request)
        self.heard: list[Routed | Event] = []
        self.waiting = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                self.heard.append(event)


class Engines:
    """Writes down what is done to the connections; breaking off ends all requests."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self.done: list[str] = []
        self.fails = False

    def break_off(self, why: str) -> None:
        self.done.append(why)
        for _ in range(self._activity.in_flight):
            self._activity.end()

    async def reconnect(self) -> None:
        self.done.append("reconnect")
        if self.fails:
            raise OSError(5, "lost")


class Night:
    def __init__(self) -> None:
        self.activity = Activity(FakeClock())
        self.gate = Gate()
        self.engines = Engines(self.activity)
        detector = GpuLossDetector(FakeFleet(FakeClock()), Learner())
        self.sleep = Sleep(self.activity, self.gate, detector, self.engines.break_off, self.engines.reconnect)


async def test_new_requests_are_told_to_come_later_until_the_machine_has_woken_up() -> None:
    night = Night()
    await night.sleep.prepare(1.0)
    assert night.sleep.is_asleep.value
    with pytest.raises(ProxyError, match="goes to sleep") as refusal:
        night.gate.check()
    assert refusal.value.kind is ErrorKind.UNAVAILABLE
    assert refusal.value.retry_after_s
    await night.sleep.resume()
    night.gate.check()
    assert night.engines.done == ["reconnect"]
    assert not night.sleep.is_asleep.value


async def test_a_request_that_ends_in_time_is_not_broken_off() -> None:
    night = Night()
    night.activity.begin()
    preparing = asyncio.create_task(night.sleep.prepare(5.0))
    await settle()
    assert not preparing.done()
    night.activity.end()
    await preparing
    assert night.engines.done == []


@pytest.mark.parametrize("frees", [True, False])
async def test_what_the_machine_would_have_to_save_is_freed_once_requests_have_ended_as_far_as_there_is_time(
    frees: bool,
) -> None:
    activity, gate = Activity(FakeClock()), Gate()
    engines = Engines(activity)

    async def release() -> None:
        engines.done.append(f"released beside {activity.in_flight}")
        await asyncio.sleep(0.0 if frees else 3600.0)

    detector = GpuLossDetector(FakeFleet(FakeClock()), Learner())
    sleep = Sleep(activity, gate, detector, engines.break_off, engines.reconnect, release)
    activity.begin()
    await sleep.prepare(1.0)
    assert engines.done == ["the machine goes to sleep", "released beside 0"]


async def test_a_request_that_takes_too_long_is_broken_off_with_the_reason() -> None:
    night = Night()
    night.activity.begin()
    await night.sleep.prepare(0.05)
    assert night.engines.done == ["the machine goes to sleep"]


BROKEN_OFF = ProxyError(ErrorKind.UNAVAILABLE, "cut off: the machine goes to sleep", code=ASLEEP)


async def asleep(*steps: Any, request: Request = ASKED, **others: Any) -> tuple[Services, Gate, FakeBackend, Answer]:
    """A request whose backend was broken off since the machine sleeps; its answer came so far."""
    gate, night = Gate(), asyncio.Event()
    backend = FakeBackend("npu", Accepted(), *steps, night, BROKEN_OFF)
    services = await services_of(backend, gate=gate, **others)
    answer = Answer(services, request)
    await backend.opened.wait()
    await settle()
    gate.close("the machine goes to sleep", 5.0)
    night.set()
    await settle()
    backend.script = Accepted(), Delta(text="lo"), Finished(usage=Usage(4, 1))
    return services, gate, backend, answer


async def test_an_answer_waits_while_the_machine_sleeps_and_goes_on_from_what_its_client_has() -> None:
    services, gate, backend, answer = await asleep(Delta(text="Hel"))
    assert (backend.open, services.admission.waiting.value, answer.waiting.done()) == (0, 1, False)
    gate.open()
    await answer.waiting
    assert answer.heard[1:4] == [Delta(text="Hel"), Resumed(), Delta(text="lo")]
    assert [each[0].spoken for each in backend.requests] == [None, Spoken("Hel", tokens=1)]
    told = services.ledger.recent()[-1]
    assert (told.backend_id, told.resumed, told.retried, told.error) == ("npu", (ASLEEP,), (), None)
    assert str(told.decision and told.decision.reason).endswith("it goes on after the machine's sleep")
    assert services.ledger.totals("npu").failures == 0


@pytest.mark.parametrize("request_", [ASKED, replace(ASKED, stream=False)])
async def test_a_request_without_an_answer_is_sent_anew_after_the_sleep(request_: Request) -> None:
    begun = () if request_.stream else (Delta(text="Hel"),)
    services, gate, backend, answer = await asleep(*begun, request=request_)
    assert not answer.waiting.done()
    gate.open()
    await answer.waiting
    assert [event for event in answer.heard if isinstance(event, Delta)] == [Delta(text="lo")]
    assert [each[0].spoken for each in backend.requests] == [None, None]
    assert services.ledger.recent()[-1].resumed == ()


async def test_an_answer_that_cannot_go_on_ends_before_the_sleep_with_the_reason() -> None:
    services, *_, answer = await asleep(Delta(text="Hel"), settings=GatewaySettings(failover=Failover.NEVER))
    with pytest.raises(ProxyError, match="the machine goes to sleep"):
        await answer.waiting
    assert services.admission.waiting.value == 0


async def test_a_client_that_leaves_while_the_machine_sleeps_leaves_nothing_behind() -> None:
    services, gate, backend, answer = await asleep(Delta(text="Hel"))
    answer.waiting.cancel()
    await settle()
    assert (services.admission.waiting.value, services.gateway.in_flight) == (0, 0)
    gate.open()
    await pass_by(1.0)
    assert len(backend.requests) == 1


async def test_requests_are_let_in_again_whatever_goes_wrong() -> None:
    night = Night()
    night.engines.fails = True
    await night.sleep.prepare(0.05)
    with pytest.raises(OSError, match="lost"):
        await night.sleep.resume()
    night.gate.check()


async def test_the_machine_stays_awake_for_requests_on_mains_power_only() -> None:
    activity, system = Activity(FakeClock()), Cell(SystemState(on_battery=unavailable("no UPower")))
    awake = Awake(activity, system)
    async with Tasks("test") as tasks:
        awake.follow(tasks)
        activity.begin()
        await settle()
        assert not awake.is_wanted.value
        system.set(SystemState(on_battery=Reading(value=False, at_s=0.0)))
        await settle()
        assert awake.is_wanted.value
        system.set(SystemState(on_battery=Reading(value=True, at_s=0.0)))
        await settle()
        assert not awake.is_wanted.value
        system.set(SystemState(on_battery=Reading(value=False, at_s=0.0)))
        await settle()
        activity.end()
        await settle()
        assert not awake.is_wanted.value
