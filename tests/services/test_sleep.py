"""What happens to requests when the machine goes to sleep."""

import asyncio

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.resume_check import GpuLossDetector
from ollama_proxyd.services.sleep import Awake, Sleep
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeClock, FakeFleet, settle
from tests.reasons import unavailable


class Engines:
    """Writes down what is done to the connections; cutting off ends all requests."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self.done: list[str] = []
        self.fails = False

    def cut_off(self, why: str) -> None:
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
        self.sleep = Sleep(self.activity, self.gate, detector, self.engines.cut_off, self.engines.reconnect)


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


async def test_a_request_that_ends_in_time_is_not_cut_off() -> None:
    night = Night()
    night.activity.begin()
    preparing = asyncio.create_task(night.sleep.prepare(5.0))
    await settle()
    assert not preparing.done()
    night.activity.end()
    await preparing
    assert night.engines.done == []


async def test_a_request_that_takes_too_long_is_cut_off_with_the_reason() -> None:
    night = Night()
    night.activity.begin()
    await night.sleep.prepare(0.05)
    assert night.engines.done == ["the machine goes to sleep"]


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
