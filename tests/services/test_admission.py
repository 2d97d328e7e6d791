"""Requests that find no slot wait in the proxy, in order, and the backend is chosen when a slot is granted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.requests import MediaType, Priority, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.gate import Gate
from ollama_proxyd.services.settings import QueueSettings
from ollama_proxyd.services.waiting import Waiting
from tests.fakes import FakeBackend, FakeFleet, pass_by, reload, services_of, settle, spec_of
from tests.services.test_gateway import request


class Engine(FakeBackend):
    """An engine that answers each request when a test says so."""

    def __init__(self, backend_id: str, slots: int | None = None, place: str = "", **facts: Any) -> None:
        spec = spec_of(backend_id, slots=slots)
        super().__init__(replace(spec, endpoint=spec.endpoint + place), **facts)
        self.goes_on: list[asyncio.Event] = []

    async def answer(self, asked: Request, model: str) -> Any:
        self.requests.append((asked, model))
        self.open += 1
        go_on = asyncio.Event()
        self.goes_on.append(go_on)
        try:
            await go_on.wait()
            yield Accepted()
            yield Delta(text="Hello")
            yield Finished()
        finally:
            self.open -= 1

    def finish(self, which: int = -1) -> None:
        """Let one request end, the newest unless it is told which."""
        self.goes_on[which].set()

    @property
    def served(self) -> list[str]:
        """The ids of the requests that it got."""
        return [asked.hints.request_id for asked, _ in self.requests]


class Clients:
    """Requests under way, by their ids, and what became of them."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.tasks: dict[str, asyncio.Task[str | None]] = {}

    async def ask(self, name: str, **facts: Any) -> None:
        self.tasks[name] = asyncio.create_task(self.follow(request(request_id=name, **facts)))
        await settle()

    async def follow(self, asked: Request) -> str | None:
        async with aclosing(self.services.gateway.answer(asked)) as events:
            first = await anext(events)
            assert isinstance(first, Routed)
            async for _ in events:
                pass
            return first.backend_id

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await settle()

    def error(self, name: str) -> ProxyError:
        error = self.tasks[name].exception()
        assert isinstance(error, ProxyError)
        return error


Bench = Callable[..., Awaitable[Clients]]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Services in front of engines, and their clients, who leave at the end."""
    made: list[Clients] = []

    async def make(*engines: FakeBackend, **facts: Any) -> Clients:
        made.append(Clients(await services_of(*engines, **facts)))
        return made[-1]

    yield make
    for task in [task for clients in made for task in clients.tasks.values()]:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_exceeds_the_slots_waits_here_and_goes_in_order(bench: Bench) -> None:
    npu = Engine("npu", slots=2)
    clients = await bench(npu)
    for name in "abcd":
        await clients.ask(name)
    assert npu.served == ["a", "b"]
    npu.finish(1)
    await settle()
    assert npu.served == ["a", "b", "c"]
    npu.finish(0)
    await settle()
    assert npu.served == ["a", "b", "c", "d"]
    assert clients.services.fleet.view("npu").in_flight == 2


async def test_a_backend_of_which_nobody_knows_the_slots_has_one(bench: Bench) -> None:
    npu = Engine("npu")
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b")
    assert npu.served == ["a"]


async def test_an_idle_backend_takes_the_next_request_when_the_queue_is_long_enough(bench: Bench) -> None:
    npu, nvidia = Engine("npu", slots=1), Engine("nvidia", slots=1)
    clients = await bench(npu, nvidia, mode=Mode.BALANCED)
    for name in "abcdefgh":
        await clients.ask(name)
    assert len(npu.served) == len(nvidia.served) == 1
    nvidia.finish()
    await settle()
    assert len(nvidia.served) == 2
    assert sorted(npu.served + nvidia.served) == ["a", "b", "c"], "in the order of arrival"


async def test_a_request_waits_for_the_cheaper_backend_while_that_is_cheaper(bench: Bench) -> None:
    npu, nvidia = Engine("npu", slots=1), Engine("nvidia", slots=1)
    clients = await bench(npu, nvidia, mode=Mode.QUIET)
    await clients.ask("a")
    await clients.ask("b")
    assert (npu.served, nvidia.served) == (["a"], [])
    npu.finish()
    await settle()
    assert npu.served == ["a", "b"]


async def test_a_higher_priority_goes_first(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    for name, priority in (("a", None), ("b", 0), ("c", 1), ("d", 3), ("e", 2)):
        await clients.ask(name, priority=priority)
    for _ in range(4):
        npu.finish()
        await settle()
    assert npu.served == ["a", "d", "e", "c", "b"]


async def test_a_client_that_leaves_leaves_the_queue(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    for name in "abc":
        await clients.ask(name)
    await clients.leave("b")
    npu.finish()
    await settle()
    assert npu.served == ["a", "c"]


async def test_a_slot_that_is_granted_to_a_client_that_leaves_at_that_moment_is_given_back(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b")
    await clients.ask("c")

    def leave(_: str) -> None:
        clients.tasks["b"].cancel()

    clients.services.fleet.freed.listen(leave)
    npu.finish()
    await pass_by(1)
    assert npu.served == ["a", "c"]
    assert clients.services.fleet.view("npu").in_flight == 1


async def test_a_queue_hears_of_slots_and_of_the_fleet_only_while_somebody_waits(bench: Bench) -> None:
    clients = await bench(npu := Engine("npu", slots=1))
    fleet = clients.services.fleet
    quiet = [len(each._listeners) for each in (fleet.freed, fleet.views, fleet.writing)]
    await clients.ask("a")
    assert [len(each._listeners) for each in (fleet.freed, fleet.views, fleet.writing)] == quiet
    await clients.ask("b")
    await clients.ask("c")
    assert [len(each._listeners) for each in (fleet.freed, fleet.views, fleet.writing)] == [n + 1 for n in quiet]
    for _ in range(3):
        npu.finish()
        await pass_by(1)
    assert npu.served == ["a", "b", "c"]
    assert [len(each._listeners) for each in (fleet.freed, fleet.views, fleet.writing)] == quiet


@pytest.mark.parametrize("urgent", [MediaType.AUDIO, MediaType.REALTIME])
async def test_sound_and_real_time_come_before_the_rest_unless_a_priority_is_named(
    bench: Bench, urgent: MediaType
) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    await clients.ask("first")
    await clients.ask("text", media_type=MediaType.TEXT)
    await clients.ask("named", media_type=urgent, priority=Priority.NORMAL)
    await clients.ask("urgent", media_type=urgent)
    for _ in range(3):
        npu.finish()
        await pass_by(1)
    assert npu.served == ["first", "urgent", "text", "named"]


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu, queue=QueueSettings(max_length=1))
    for name in "abc":
        await clients.ask(name)
    error = clients.error("c")
    assert (error.kind, error.code) == (ErrorKind.OVERLOADED, "queue_full")
    assert error.retry_after_s is not None
    assert error.retry_after_s >= 1
    assert "1 requests wait" in error.message
    assert "place 2" in error.message
    await clients.ask("d", priority=Priority.HIGH)
    assert "place 1" in clients.error("d").message


async def test_the_queue_of_one_model_may_be_shorter_than_that_of_all(bench: Bench) -> None:
    clients = await bench(Engine("npu", slots=1, models=("tiny", "other")), queue=QueueSettings(max_per_model=1))
    for name in "abc":
        await clients.ask(name)
    error = clients.error("c")
    assert (error.kind, error.code) == (ErrorKind.OVERLOADED, "queue_full")
    assert "routing.queue.max_per_model" in error.message
    await clients.ask("d", model="other")
    assert not clients.tasks["d"].done()


async def test_a_wait_is_bounded(bench: Bench) -> None:
    clients = await bench(Engine("npu", slots=1), queue=QueueSettings(max_wait_s=30))
    await clients.ask("a")
    await clients.ask("b")
    await pass_by(29)
    assert not clients.tasks["b"].done()
    await pass_by(2)
    assert clients.error("b").code == "queue_timeout"


async def test_work_in_the_background_may_wait_twice_as_long(bench: Bench) -> None:
    clients = await bench(Engine("npu", slots=1), queue=QueueSettings(max_wait_s=30))
    await clients.ask("a")
    await clients.ask("b", priority=Priority.BEST_EFFORT)
    await pass_by(59)
    assert not clients.tasks["b"].done()
    await pass_by(2)
    assert clients.error("b").code == "queue_timeout"


async def test_a_deadline_ends_the_wait(bench: Bench) -> None:
    clients = await bench(Engine("igpu", slots=1))
    clock = clients.services.gateway._deps.clock
    await clients.ask("a", max_latency_ms=None)
    await clients.ask("b", deadline_ms=int((clock.unix() + 60) * 1000))
    assert not clients.tasks["b"].done()
    await pass_by(61)
    assert clients.error("b").param == "deadline_ms"


async def test_a_thrifty_mode_makes_requests_wait_and_refuses_none(bench: Bench) -> None:
    npu = Engine("npu", slots=4)
    clients = await bench(npu, mode=Mode.ULTRA_EFFICIENCY)
    for name in "abcd":
        await clients.ask(name)
    assert npu.served == ["a", "b"]
    npu.finish()
    await settle()
    assert npu.served == ["a", "b", "c"]


async def test_a_change_of_mode_lets_requests_go_that_it_allows(bench: Bench) -> None:
    npu = Engine("npu", slots=4)
    clients = await bench(npu, mode=Mode.ULTRA_EFFICIENCY)
    for name in "abcd":
        await clients.ask(name)
    clients.services.governor.select(Mode.PERFORMANCE)
    await pass_by(1)
    assert npu.served == ["a", "b", "c", "d"]


async def test_requests_wait_through_a_reload_and_are_refused_when_their_backend_is_gone(bench: Bench) -> None:
    npu, other = Engine("npu", slots=1), Engine("igpu", slots=1, models=("other",))
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b")
    await reload(clients.services, npu, other)
    assert not clients.tasks["b"].done()
    await reload(clients.services, other)
    await pass_by(1)
    assert clients.error("b").message == "model 'tiny' not found; available: other"
    npu.finish()
    await settle()
    assert clients.tasks["a"].result() == "npu"


@pytest.mark.parametrize("target", [None, "npu"])
@pytest.mark.parametrize("is_up", [True, False])
async def test_who_waits_for_a_backend_that_moved_waits_for_its_check_too(
    bench: Bench, target: str | None, is_up: bool
) -> None:
    npu, moved = Engine("npu", slots=1), Engine("npu", slots=1, place="/elsewhere")
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b", target=target)
    moved.down = None if is_up else ProxyError(ErrorKind.UPSTREAM_FAILED, "refused")
    assert isinstance(clients.services.fleet, FakeFleet)
    clients.services.fleet.have(moved)
    await pass_by(1)
    assert not clients.tasks["b"].done()
    await clients.services.health.check_all()
    await pass_by(1)
    if is_up:
        assert moved.served == ["b"]
    else:
        assert (clients.error("b").code, clients.error("b").kind) == ("down", ErrorKind.UNAVAILABLE)


async def test_a_backend_that_joins_takes_requests_that_wait(bench: Bench) -> None:
    npu, second = Engine("npu", slots=1), Engine("igpu", slots=1)
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b")
    await reload(clients.services, npu, second)
    await pass_by(1)
    assert (npu.served, second.served) == (["a"], ["b"])


async def test_requests_wait_through_the_machines_sleep_and_do_not_hinder_it(bench: Bench) -> None:
    gate, npu = Gate(), Engine("npu", slots=1)
    clients = await bench(npu, gate=gate)
    await clients.ask("a")
    await clients.ask("b")
    gate.close("the machine goes to sleep", 5)
    npu.finish()
    await settle()
    assert npu.served == ["a"]
    assert await clients.services.gateway._deps.activity.quiet(0.1)
    gate.open()
    await pass_by(1)
    assert npu.served == ["a", "b"]


@pytest.mark.parametrize("seed", range(3))
async def test_fifty_at_once_are_all_answered_once(bench: Bench, seed: int) -> None:
    engines = [Engine(backend_id, slots=1 + (seed + at) % 3) for at, backend_id in enumerate(("npu", "igpu", "nvidia"))]
    clients = await bench(*engines)
    for number in range(50):
        await clients.ask(str(number), priority=number % 4)
    left = True
    while left:
        await pass_by(0.1)
        left = any(engine.open for engine in engines)
        for engine in engines:
            assert engine.open <= (engine.spec.slots or 1)
            for go_on in engine.goes_on:
                go_on.set()
    assert sorted(name for engine in engines for name in engine.served) == sorted(map(str, range(50)))
    assert all(task.result() for task in clients.tasks.values())


async def test_what_fails_while_it_is_decided_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    for name in "abc":
        await clients.ask(name)
    decide: Callable[..., Any] = clients.services.gateway._decide

    def broken(query: Any, *others: Any) -> Any:
        if query.hints.request_id == "b":
            raise ZeroDivisionError
        return decide(query, *others)

    monkeypatch.setattr(clients.services.gateway, "_decide", broken)
    npu.finish()
    await settle()
    assert isinstance(clients.tasks["b"].exception(), ZeroDivisionError)
    assert npu.served == ["a", "c"]


async def test_a_critical_request_takes_the_slot_of_one_in_the_background_that_has_sent_nothing(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    for name in "abc":
        await clients.ask(name, priority=Priority.BEST_EFFORT)
    await clients.ask("urgent", priority=Priority.CRITICAL)
    assert npu.served == ["a", "urgent"]
    assert npu.open == 1
    for _ in range(3):
        npu.finish()
        await settle()
    npu.finish()
    await settle()
    assert npu.served == ["a", "urgent", "a", "b", "c"], "it comes back before its equals"
    assert all(task.result() == "npu" for task in clients.tasks.values())
    displaced = next(each for each in clients.services.ledger.recent() if each.request_id == "a")
    assert (displaced.error, displaced.retried, displaced.attempts) == (None, (), 1)
    assert clients.services.ledger.totals("npu").failures == 0
    assert not clients.services.fleet.view("npu").breakers


async def test_what_has_sent_something_or_is_not_in_the_background_keeps_its_slot(bench: Bench) -> None:
    npu = Engine("npu", slots=2)
    clients = await bench(npu)
    events = clients.services.gateway.answer(request(request_id="heard", priority=Priority.BEST_EFFORT))
    heard = asyncio.create_task(anext(events))
    await settle()
    npu.finish()
    await heard
    await clients.ask("normal")
    await clients.ask("urgent", priority=Priority.CRITICAL)
    assert npu.served == ["heard", "normal"]
    await events.aclose()
    await settle()
    assert npu.served == ["heard", "normal", "urgent"]


HELD = {"npu": "tiny", "igpu": "small", "nvidia": "large"}


async def test_the_background_waits_while_the_processors_memory_serves_others(bench: Bench) -> None:
    npu, igpu, nvidia = (Engine(each, models=[model]) for each, model in HELD.items())
    clients = await bench(npu, igpu, nvidia)
    await clients.ask("chat", model="small")
    await clients.ask("work", model="tiny", priority=Priority.BEST_EFFORT)
    await clients.ask("elsewhere", model="large", priority=Priority.BEST_EFFORT)
    assert (igpu.served, npu.served, nvidia.served) == (["chat"], [], ["elsewhere"])
    igpu.finish()
    await settle()
    await pass_by(1.0)
    assert npu.served == ["work"]


async def test_the_background_waits_for_others_no_longer_than_half_of_the_longest_wait(bench: Bench) -> None:
    npu, igpu = (Engine(each, models=[HELD[each]]) for each in ("npu", "igpu"))
    clients = await bench(npu, igpu)
    await clients.ask("chat", model="small")
    await clients.ask("work", model="tiny", priority=Priority.BEST_EFFORT)
    await pass_by(QueueSettings().max_wait_s / 2 - 1)
    assert npu.served == []
    await pass_by(2.0)
    assert npu.served == ["work"]


async def test_who_waits_and_for_how_long_is_told(bench: Bench) -> None:
    npu = Engine("npu", slots=1)
    clients = await bench(npu)
    await clients.ask("a")
    await clients.ask("b")
    await pass_by(3)
    await clients.ask("c", priority=Priority.HIGH)
    told = clients.services.admission.status()
    assert told.by_priority == {"best-effort": 0, "normal": 1, "high": 1, "critical": 0}
    assert (told.waiting, clients.services.admission.waiting.value, told.oldest_wait_seconds) == (2, 2, 3.0)
    for _ in range(3):
        npu.finish()
        await settle()
    waited_s = {each.request_id: each.queue_wait_s for each in clients.services.ledger.recent()}
    assert waited_s == {"a": 0, "c": 0, "b": 3.0}
    assert clients.services.admission.status().waiting == clients.services.admission.waiting.value == 0


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.AUTO])
@pytest.mark.parametrize("kinds", ["all alike", "long first", "short first", "mixed", "one without haste first"])
async def test_no_device_is_idle_that_one_who_waits_would_take(bench: Bench, mode: Mode, kinds: str) -> None:
    engines = [Engine(name, slots=1) for name in ("npu", "igpu", "nvidia", "cpu")]
    clients = await bench(*engines, mode=mode)
    soon_ms = int(clients.services.gateway._deps.clock.unix() * 1000) + 15_000
    for each in range(20):
        facts: dict[str, Any] = {
            "all alike": {},
            "long first": {"max_tokens": 4 if each > 6 else 4000},
            "short first": {"max_tokens": 4000 if each > 6 else 4},
            "mixed": {"max_tokens": (4, 200, 4000)[each % 3], "prompt_tokens": (10, 20_000)[each % 2]},
            "one without haste first": {"deadline_ms": soon_ms} if each % 2 else {},
        }[kinds]
        asked = replace(
            request(request_id=str(each), **{name: facts.pop(name) for name in tuple(facts) if name == "deadline_ms"}),
            **facts,
        )
        clients.tasks[str(each)] = asyncio.create_task(clients.follow(asked))
        await settle()
    await pass_by(1.0)
    admission, fleet = clients.services.admission, clients.services.fleet
    for waiting in admission._queue:
        assert isinstance(waiting, Waiting)
        query = replace(waiting.query, waited_s=1.0)
        best = waiting.decide(admission.foresee(query, waiting)).ranked[0].backend_id
        if admission._may_begin(query):
            assert fleet.view(best).in_flight, f"{waiting.query.hints.request_id} would go to {best}, which is idle"
