"""Requests that wait are decided anew when something has changed, or when time alone changes their choice."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from ollama_proxyd.core.admission import AdmissionQueue
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.services.queue_watch import LONGEST_S, PAUSE_S, QueueWatch
from ollama_proxyd.services.waiting import Waiting
from tests.fakes import FakeClock, pass_by, settle
from tests.services.test_admission import Bench, Clients, Engine, bench

__all__ = ["bench"]


def decisions_of(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The id of each request that waits whenever it is decided anew, from now on."""
    found: list[str] = []
    gateway = clients.services.gateway
    choose = gateway._choose_again

    def noted(trace: Any, *asked: Any) -> Decision:
        found.append(trace.request.hints.request_id)
        return choose(trace, *asked)

    monkeypatch.setattr(gateway, "_choose_again", noted)
    return found


async def one_that_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[Clients, list[str]]:
    """A request b that has waited for a second behind a, and what is decided anew from then on."""
    clients = await bench(Engine("npu", slots=1))
    decisions = decisions_of(clients, monkeypatch)
    await clients.ask("a")
    await clients.ask("b")
    await pass_by(1.0)
    decisions.clear()
    return clients, decisions


class OneWaits(AdmissionQueue):
    """A queue in which a request waits whose choice only changes by what happens."""

    look_at_s = inf

    def __len__(self) -> int:
        return 1


class BusyClock(FakeClock):
    """A clock that goes on while something works without a pause."""

    busy_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.busy_s


@pytest.mark.parametrize("changes_itself", [False, True])
@pytest.mark.parametrize(("takes_s", "most"), [(0.0, 41), (0.2, 6)])
async def test_looks_take_a_tenth_of_the_time_at_most_however_long_each_takes(
    takes_s: float, most: int, *, changes_itself: bool
) -> None:
    clock, looks = BusyClock(), list[float]()

    def look() -> None:
        looks.append(clock.monotonic())
        clock.busy_s += takes_s
        if changes_itself:
            watch.note_change()

    watch, begun_s = QueueWatch(OneWaits(), clock, look), clock.monotonic()
    while clock.monotonic() < begun_s + 10.0:
        watch.note_change()
        await pass_by(0.05)
    assert most // 2 <= len(looks) <= most


async def test_nothing_is_decided_while_nothing_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = await bench(npu := Engine("npu", slots=1))
    decisions = decisions_of(clients, monkeypatch)
    await clients.ask("a")
    await clients.ask("b")
    await pass_by(1.0)
    decisions.clear()
    await pass_by(4 * LONGEST_S)
    assert len(decisions) <= 4, "nothing else can serve it, however long it waits"
    npu.finish()
    await settle()
    assert npu.served == ["a", "b"]


@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY, Mode.QUIET])
async def test_who_waits_goes_elsewhere_at_the_moment_when_waiting_costs_more(
    bench: Bench, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    npu, nvidia = Engine("npu", slots=1), Engine("nvidia", slots=1)
    clients = await bench(npu, nvidia, mode=mode)
    admission, clock = clients.services.admission, clients.services.clock
    for name in "abc":
        await clients.ask(name)
    decisions = decisions_of(clients, monkeypatch)
    late_s, most_late_s, looks, begun_s, step_s = 0.0, 0.0, 0, clock.monotonic(), 0.05
    while len(admission._queue) and clock.monotonic() < begun_s + 300.0:
        await pass_by(step_s)
        for waiting in admission._queue:
            assert isinstance(waiting, Waiting)
            query = admission.foresee(waiting.query_at(clock.monotonic()), waiting)
            best = waiting.decide(query).ranked[0]
            looks += 1
            late_s = late_s + step_s if best.backend_id not in query.waits_s else 0.0
            most_late_s = max(late_s, most_late_s)
            break
    assert most_late_s <= PAUSE_S + step_s
    assert looks > 10 * (len(decisions) - looks), "few looks are enough for it"


async def test_a_switch_of_the_mode_lets_one_go_at_once(bench: Bench) -> None:
    npu, nvidia = Engine("npu", slots=1), Engine("nvidia", slots=1)
    clients = await bench(npu, nvidia, mode=Mode.ULTRA_EFFICIENCY)
    await clients.ask("a")
    await clients.ask("b")
    await pass_by(1.0)
    assert (npu.served, nvidia.served) == (["a"], [])
    clients.services.governor.select(Mode.PERFORMANCE)
    await settle()
    assert nvidia.served == ["b"]


async def test_a_change_of_the_machine_has_who_waits_decided_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, decisions = await one_that_waits(bench, monkeypatch)
    clients.services.system.set(SystemState(games=Reading(1, 0.0)))
    await pass_by(2 * PAUSE_S)
    assert decisions


@pytest.mark.parametrize("priority", [1, 3], ids=["behind it", "before it"])
async def test_one_that_comes_has_who_waits_decided_anew(
    bench: Bench, priority: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, decisions = await one_that_waits(bench, monkeypatch)
    await clients.ask("c", priority=priority)
    await pass_by(2 * PAUSE_S)
    assert "b" in decisions, "others may follow it or go before it now"


async def test_one_that_comes_to_prefer_another_backend_has_all_decided_anew(bench: Bench) -> None:
    clients = await bench(Engine("npu", slots=1), Engine("nvidia", slots=1))
    await clients.ask("a", target="nvidia")
    await clients.ask("b")
    await clients.ask("c")
    (waiting,) = clients.services.admission._queue
    assert isinstance(waiting, Waiting)
    decide, looks_s, clock = waiting.decide, list[float](), clients.services.clock

    def otherwise(query: Query) -> Decision:
        looks_s.append(clock.monotonic())
        decision = decide(query)
        return replace(decision, ranked=decision.ranked[::-1])

    waiting.decide = otherwise
    await pass_by(2 * LONGEST_S)
    first_s, second_s, *_ = looks_s
    assert second_s - first_s == pytest.approx(PAUSE_S)


async def test_changes_in_quick_succession_are_looked_at_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, decisions = await one_that_waits(bench, monkeypatch)
    for percent in range(50):
        clients.services.system.set(SystemState(battery_percent=Reading(float(percent), 0.0)))
        await pass_by(0.01)
    assert 1 <= len(decisions) <= 1 + 50 * 0.01 / PAUSE_S


async def test_without_requests_that_wait_nothing_is_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = await bench(npu := Engine("npu", slots=1))
    decisions = decisions_of(clients, monkeypatch)
    await clients.ask("a")
    await clients.ask("b")
    await clients.leave("b")
    npu.finish()
    await settle()
    decisions.clear()
    clients.services.governor.select(Mode.PERFORMANCE)
    await pass_by(2 * LONGEST_S)
    assert not decisions
    assert clients.services.admission.watch._timer is None
